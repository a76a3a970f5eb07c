"""Tell what happens in the cloud on a laptop: uploads, the steps of jobs, notifications. A line each.

Like a user of AWS, it reads only S3, Step Functions and a subscribed queue.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from local import terminal
from local.demo import Inbox, what_came

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local.cloud import Cloud

_FOLLOWED = 20
"""How many jobs are followed step by step at a time. The notifications of all others are shown, too."""
_NAME_WIDTH, _STEP_WIDTH = 20, 15
_OURS = "plans/"  # what batches keep beside the uploads


class Feed:
    """What happened since the last time it was asked.

    Args:
        cloud: The running cloud.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._s3, self._sfn = cloud.client("s3"), cloud.client("stepfunctions")
        self._inbox = Inbox(cloud, "live-feed")
        self._uploads = self._listed()
        self._seen: dict[str, int] = {}
        self._ended: set[str] = set()
        self._names: dict[str, str] = {}
        self._polled: dict[str, str] = {}

    def news(self) -> Iterator[str]:
        """Yield a line for each thing that happened."""
        uploads = self._listed()
        for key in sorted(uploads.items() - self._uploads.items()):
            if not key[0].startswith(_OURS):
                yield self._line(key[0].rpartition("/")[2], "Upload", key[0])
        self._uploads = uploads
        for execution in self._executions():
            yield from self._steps(execution["executionArn"], execution["name"], execution["status"] != "RUNNING")
        for message in self._inbox.received():
            job_id, error = message.get("job_id", ""), message.get("error", {})
            video = message.get("video", {})
            place = f"s3://{video['bucket']}/{video['key']}" if video else error.get("code", "")
            yield self._line(self._names.get(job_id, job_id), "Notification", f"{message['status']} {place}".strip())

    def _listed(self) -> dict[str, str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._cloud.endpoints.uploads_bucket)
        return {item["Key"]: str(item["LastModified"]) for page in pages for item in page.get("Contents", [])}

    def _executions(self) -> list[dict[str, Any]]:
        arn = self._cloud.endpoints.state_machine_arn
        started = self._sfn.list_executions(stateMachineArn=arn, maxResults=_FOLLOWED)["executions"]
        return [execution for execution in reversed(started) if execution["executionArn"] not in self._ended]

    def _steps(self, arn: str, name: str, has_ended: bool) -> Iterator[str]:
        pages = self._sfn.get_paginator("get_execution_history").paginate(executionArn=arn)
        events = [event for page in pages for event in page["events"]]
        for event in events[self._seen.get(arn, 0) :]:
            if begun := event.get("executionStartedEventDetails"):
                self._names[name] = _made_of(begun.get("input", "{}")) or name
            left = event.get("stateExitedEventDetails")
            if left and event["type"] == "TaskStateExited":
                said = what_came(left["name"], json.loads(left.get("output") or "{}"))
                if left["name"] != "Poll" or self._polled.get(arn) != said:
                    yield self._line(self._names.get(name, name), left["name"], said)
                self._polled[arn] = said
        self._seen[arn] = len(events)
        if has_ended:  # the status was read first, so the history is complete
            self._ended.add(arn)

    def _line(self, name: str, step: str, said: str) -> str:
        shown = terminal.fit(name, _NAME_WIDTH)
        before = f"{time.strftime('%H:%M:%S')}  {shown:<{_NAME_WIDTH}}  {step:<{_STEP_WIDTH}} "
        width = terminal.columns()
        # A line that fills the last column wraps on some terminals.
        return before + terminal.fit(said, None if width is None else max(0, width - 1 - len(before)))


def _made_of(given: str) -> str:
    """Return the name of the file that an execution's input names; nothing where it names none."""
    source = json.loads(given or "{}").get("source", {})
    key, line = source.get("key", ""), source.get("line")
    name: str = key.rpartition("/")[2]
    return f"{name}:{line}" if line else name
