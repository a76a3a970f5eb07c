"""Follow a page of the docs on the running cloud."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local.demo import SAMPLE
from tests.support.laptop import until

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

ROOT = Path(__file__).parents[2]
TIMEOUT_SECONDS = 120


class Reader:
    """A reader with a terminal who follows a page."""

    def __init__(self, world: RunningCloud, folder: Path) -> None:
        for name in ("shoe.jpg", "room.jpg"):
            shutil.copy(SAMPLE, folder / name)
        aws = folder / "bin" / "aws"
        aws.parent.mkdir()
        aws.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT / "tests" / "support" / "aws_command.py"}" "$@"\n')
        aws.chmod(0o755)
        self.folder = folder
        self.environment = {
            **world.environment,
            "PATH": os.pathsep.join([str(aws.parent), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "AWS_EC2_METADATA_DISABLED": "true",
            "API_URL": world.at.api_url,
            "UPLOADS_BUCKET": world.at.uploads_bucket,
            "TOPIC_ARN": world.at.topic_arn,
            "HOME": str(folder),
        }

    def follow(self, page: str, language: str) -> str:
        """Run the page's blocks of a language, and return their output."""
        text = (ROOT / "docs" / page).read_text()
        blocks = re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert blocks, f"{page} has no {language}"
        run = ["bash", "-euo", "pipefail", "-c"] if language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(  # noqa: S603 - the project's own docs
            [*run, "\n".join(blocks)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout


def notification_ids(world: RunningCloud, queue: str, until_there: set[str]) -> set[str]:
    """Return the ids of the notifications in a queue, once the expected ones have arrived."""
    sqs = world.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found: set[str] = set()

    def check() -> bool | None:
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        found.update(json.loads(message["Body"])["notification_id"] for message in received)
        return True if until_there <= found and not received else None

    until(check)
    return found
