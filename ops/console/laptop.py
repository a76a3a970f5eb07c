"""Show and switch what only the cloud on a laptop has: the stand-in for Genviral, and an inbox of notifications.

Knows the addresses of the stand-in's controls; must not import `local`.
"""

from __future__ import annotations

import contextlib
import json
import threading
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any

from ops.console.calls import BadCall
from ops.console.session import stand_in, time_scale
from ops.exits import NotFound, Unanswered
from ops.stack import ERRORS

if TYPE_CHECKING:
    from ops.console.calls import Call
    from ops.stack import Stack

_ACCOUNT = "valid"  # whose key `up` stores in the secret
_KEPT = 500
_A_CALL = 10  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html


class Inbox:
    """The notifications that were sent since the console was started: a queue of its own, subscribed to the topic."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._sns = stack.client("sqs"), stack.client("sns")
        self._received: deque[dict[str, Any]] = deque(maxlen=_KEPT)
        self._unsent: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self._queue = self._sqs.create_queue(QueueName=f"console-{uuid.uuid4().hex[:8]}")["QueueUrl"]
        topic = stack.output("TopicArn")
        attributes = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])["Attributes"]
        policy = _policy(topic, attributes["QueueArn"])
        self._sqs.set_queue_attributes(QueueUrl=self._queue, Attributes={"Policy": policy})
        self._subscription = self._sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=attributes["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]

    def news(self) -> list[dict[str, Any]]:
        """Return the notifications that have come since the last call, oldest first."""
        with self._lock:
            self._receive()
            unsent, self._unsent = self._unsent, []
            return unsent

    def newest_first(self) -> list[dict[str, Any]]:
        """Return the notifications that have come."""
        with self._lock:
            self._receive()
            return list(self._received)[::-1]

    def _receive(self) -> None:
        while messages := self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=_A_CALL).get("Messages"):
            for message in messages:
                notification = json.loads(message["Body"])
                self._received.append(notification)
                self._unsent.append(notification)
                self._sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])

    def of_job(self, job_id: str, status: str) -> dict[str, Any] | None:
        """Return the last notification about a job in a status."""
        found = (one for one in self.newest_first() if (one.get("job_id"), one["status"]) == (job_id, status))
        return next(found, None)

    def close(self) -> None:
        """Leave nothing behind, if the cloud still runs."""
        with contextlib.suppress(*ERRORS):
            self._sns.unsubscribe(SubscriptionArn=self._subscription)
            self._sqs.delete_queue(QueueUrl=self._queue)


def _policy(topic: str, queue: str) -> str:
    """Return what lets a topic send to a queue."""
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": queue,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Laptop:
    """What only the cloud on a laptop has.

    Args:
        inbox: None where the stack is in AWS.
    """

    def __init__(self, stack: Stack, inbox: Inbox | None) -> None:
        self._stack = stack
        self._inbox = inbox

    def shown(self, _: Call) -> dict[str, Any]:
        """Return the stand-in's state and switches, and the notifications.

        Raises:
            NotFound: The stack is in AWS.
            Unanswered: The stand-in does not answer.
        """
        if self._inbox is None:
            raise NotFound("This is a stack in AWS; only the cloud on a laptop has switches and an inbox.")
        known = {"inbox": self._inbox.newest_first(), "time_scale": time_scale() or 1.0}
        controls = stand_in(self._stack)
        if controls is None:
            return {**known, "state": None, "switches": []}
        return {**known, "state": _state(controls), "switches": _admin("GET", f"{controls}/switches")["switches"]}

    def turn(self, call: Call) -> dict[str, Any]:
        """Turn a switch of the stand-in, or set how long it takes, and return its state.

        Raises:
            NotFound: There is no such switch, or no stand-in.
            BadCall: generation_seconds is no number.
        """
        controls = stand_in(self._stack)
        if controls is None:
            raise NotFound("There is no stand-in for Genviral here.")
        name = call.path["switch"]
        if name == "settings":
            seconds = call.json().get("generation_seconds")
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds <= 3600:
                raise BadCall("generation_seconds must be a number from 0 to 3600.")
            _admin("POST", f"{controls}/settings", {"generation_seconds": seconds})
        elif name in {one["name"] for one in _admin("GET", f"{controls}/switches")["switches"]}:
            _admin("POST", f"{controls}/switches", {"name": name})
        else:
            raise NotFound("There is no such switch.")
        return {"state": _state(controls)}


def _state(controls: str) -> dict[str, Any]:
    """Return the stand-in's account, faults and settings, without the list of all that was paid."""
    state = _admin("GET", f"{controls}/state")
    account = state["accounts"][_ACCOUNT]
    return {
        "account": account["state"],
        "credits": account["credits"],
        "spent": account["spent"],
        "faults": state["faults"],
        "generation_seconds": state["settings"]["generation_seconds"],
    }


def _admin(method: str, address: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    import httpx

    try:
        answer = httpx.request(method, address, json=body).raise_for_status()
    except httpx.HTTPError:
        raise Unanswered("The stand-in for Genviral does not answer. Is `up` still running?") from None
    document: dict[str, Any] = answer.json()
    return document
