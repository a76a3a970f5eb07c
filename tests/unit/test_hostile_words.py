"""Test text that steers terminals or forges lines and links, through every input: no output contains it.

`HOSTILE_WORDS=30000` tries more of them than the usual few hundred.
"""

from __future__ import annotations

import functools
import json
import os
import random
import re
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sns import sns_backends

from ops import output
from ops.commands import looking
from ops.facts import document, facts
from ops.stack import Stack
from shared.faults import Fault
from shared.jobs.errors import UploadMisplaced
from shared.jobs.notifications import notification_for, notification_of_upload
from shared.jobs.record import Job
from shared.jobs.states import Status
from shared.printable import json_text
from shared.steps.batch_report import _table
from tests.support.fakes import (
    BODY,
    PNG,
    REGION,
    TOPIC,
    UPLOADS,
    VIDEO_ID,
    VIDEOS,
    Vendor,
    arn_of,
    event,
    refusing,
    showing,
)
from tests.support.handlers import payload_of, post

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.handlers import Functions
    from tests.support.operators import CommandLine


COUNT, A_TIME, MOST_SHOWN = int(os.environ.get("HOSTILE_WORDS", "300")), 60, 40
THROUGH_DOORS = max(1, COUNT // A_TIME // 3)
"""Texts that go through whole functions and commands, at a second each. All texts go through the formatters."""
PIECES = [
    *("\x1b[2J", "\x1b]0;t\x07", "\x00", "\x08", "\t", "\r", "\n", "\x7f", "\x85", "\x9b31m", "\xad", "\u061c"),
    *("\u200b", "\u200d", "\u200f", "\u2028", "\u2029", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff", "\ufffa"),
    *("\ud800", "\udfff", "\U000e0041", "\U000f0000", "\u3000", "\xa0", " " * 99),
    *("\u034f", "\u115f", "\u1160", "\u17b4", "\u180b", "\u2800", "\u3164", "\ufe00", "\ufe0f", "\uffa0", "\U000e0100"),
    *(
        "\nVideo:   https://evil.example/x",
        "\r\nWhat to do: https://evil.example/",
        " https://evil.example/ ",
        "//evil.example",
    ),
    *(
        "www.evil.example",
        "me@evil.example",
        "mailto:me@evil.example",
        "sms:evil",
        "javascript:evil",
        "xmpp:evil",
        "slack:/evil",
        "WWW.evil.example",
        "<https://evil.example|x>",
        "[x](https://evil.example)",
    ),
    *(
        "<!channel>",
        "@here",
        '=HYPERLINK("https://evil.example")',
        "+1;|x",
        ": Paid: no",
        "%0a%1b",
        "&#10;",
        "\\n",
        "\\x1b",
    ),
    *(
        '"',
        "'",
        "`",
        "*",
        "{{filename}}",
        "<b>",
        "/",
        ",",
        "🧑\u200d🚀",
        "❤\ufe0f",
        "1\ufe0f\u20e3",
        "e\u0301",
        "猫",
        "a",
        "shoe",
        ".png",
    ),
]
SUFFIXES = (
    "uploads/{}.png",
    "uploads/{}/a.png",
    "uploads/{}.assets.json",
    "{}.png",
    "recipes/{}.json",
    "requests/{}.json",
)


def words(number: int) -> Iterator[str]:
    rng = random.Random(number)  # noqa: S311 - the same words each time
    for _ in range(A_TIME):
        pieces = [rng.choice([*PIECES, chr(rng.randrange(0x3000))]) for _ in range(rng.randint(1, 4))]
        yield "".join(pieces)


class Doors:
    """The inputs for a hostile text. Each makes jobs that can be shown afterwards."""

    def __init__(self, stage: Functions) -> None:
        self.stage, self.world = stage, stage.world
        self.said: list[str] = []
        """The answers and errors of the functions."""
        self.jobs: set[str] = set()

    def call(self, name: str, given: dict[str, Any]) -> Any:
        try:
            answer = self.stage.call(name, given)
        except Fault as fault:
            self.said.append(str(fault))
            return fault
        self.said.append(answer["body"] if isinstance(answer, dict) and "body" in answer else "")
        return answer

    def submit(self, job_id: str, given: dict[str, Any] | None = None) -> None:
        """Submit a job, and pass a failure to Notify."""
        self.jobs.add(job_id)
        execution = arn_of(job_id)
        fault = self.call("submit", {"execution_id": execution, "input": given or {"job_id": job_id}})
        if isinstance(fault, Fault):
            error = {"Error": type(fault).__name__, "Cause": json.dumps(payload_of(fault))}
            for happened in ("on_hold", "failed"):
                self.call("notify", {"event": happened, "execution_id": execution, "error": error})

    def key(self, word: str) -> None:
        """Use the text in the names of a file, its folder, a recipe and a request, and in the content."""
        text = word.encode(errors="replace").decode()
        for form in SUFFIXES:
            key = form.format(text)[:300]
            content = json.dumps({"model_id": word, word: [word], "assets": {word: word}}).encode()
            self.world.upload(key, PNG if key.endswith(".png") else content)
            created = event("uploads_object_created")
            created["detail"]["object"] |= {"key": key, "version-id": "null"}
            answer = self.call("uploads", created)
            if isinstance(answer, dict):
                self.submit(answer["job_id"])

    def recipe(self, word: str) -> None:
        """Use the text in a recipe, and in the metadata of a file for it."""
        self.world.recipe({"model_id": f"{{{{metadata.{word}}}}}", word: word, "prompt": f"{{{{{word}|{word}}}}}"})
        self.key("shoe")

    def body(self, word: str) -> None:
        """Use the text in fields, field names and labels of a body, and in its caller's name."""
        for body in (
            {**BODY, "model_id": word},
            {**BODY, word: word},
            {**BODY, "params": {word: word, "resolution": word}},
            {**BODY, "reference_image_urls": [word]},
            {**BODY, "metadata": {word: word}},
            {**BODY, "metadata": {"label": word}},
            {**BODY, "prompt": word, "raw_params": {word: word}},
        ):
            given = post(json.dumps(body), **{"idempotency-key": word})
            given["requestContext"]["authorizer"] = {"jwt": {"claims": {"iss": "https://a", "sub": word, "azp": word}}}
            self.call("api", given)
            del given["headers"]["idempotency-key"]
            answer = self.call("api", given)
            if "job_id" in (document := json.loads(answer["body"])):
                self.submit(document["job_id"])
        self.call(
            "api",
            {
                **event("api_get_video"),
                "rawPath": f"/videos/{word}",
                "requestContext": {"http": {"method": "GET", "path": f"/videos/{word}"}, "stage": "$default"},
            },
        )
        self.call("api", {**event("api_list_videos"), "queryStringParameters": {"status": word, word: word}})
        self.call("api", {**event("api_post_uploads"), "body": json.dumps({"filename": word, "recipe": word, word: 1})})

    def vendor(self, word: str) -> None:
        """Use the text in Genviral's answers: to the paid call, and to a poll."""
        for status, code in (
            (400, "invalid_input"),
            (400, word),
            (403, "insufficient_credits"),
            (500, word),
            (404, word),
        ):
            self.world.vendor = Vendor([refusing(status, code, word)] * 5)
            job_id = f"job-{len(self.jobs)}"
            self.world.job(job_id)
            self.submit(job_id)
            assert self.world.vendor.posts
        for shown in (
            showing(word, error=word),
            showing("failed", error={"message": word, word: word}),
            showing("processing"),
        ):
            self.world.vendor = Vendor(get=[shown] * 3)
            job_id = f"job-{len(self.jobs)}"
            self.world.paid_job(job_id)
            self.jobs.add(job_id)
            state = {
                "execution_id": arn_of(job_id),
                "video_id": VIDEO_ID,
                "submitted_at": 1_700_000_000,
                "waiting": None,
            }
            self.call("status", {**event("status"), **state})
            assert self.world.vendor.asked
        self.world.vendor = Vendor()

    def cause(self, word: str) -> None:
        """Use the text in the cause of an execution's failure."""
        job_id = f"job-{len(self.jobs)}"
        self.world.paid_job(job_id)
        self.jobs.add(job_id)
        change = event("notify_execution_status_change")
        change["detail"] |= {"executionArn": arn_of(job_id), "name": job_id, "error": word, "cause": word}
        self.call("notify", change)
        self.call(
            "notify", {"event": "failed", "execution_id": arn_of(job_id), "error": {"Error": word, "Cause": word}}
        )

    def batch(self, word: str) -> None:
        """Use the text in cells, columns and lines of a batch, and in its name."""
        name = word.encode(errors="replace").decode()[:60]
        cell = f'"{name.replace(chr(34), chr(34) * 2)}"'
        good = f"model_id,prompt,metadata.label\nm,a boat,{cell}\nn,{cell},x\n{cell},y,z\n"
        files = {
            f"batches/{name}.csv": good,
            "batches/columns.csv": f"model_id,{cell},metadata.{name}\nm,a,b\n",
            "batches/lines.jsonl": json.dumps({"model_id": word, word: word, "metadata": {word: word}}) + f"\n{name}\n",
        }
        for key, text in files.items():
            self.world.upload(key, text.encode())
            given = {**event("batch_plan"), "source": {"type": "batch", "bucket": UPLOADS, "key": key}}
            plan = self.call("batch", given)
            if isinstance(plan, Fault):
                error = {"Error": type(plan).__name__, "Cause": json.dumps(payload_of(plan))}
                self.call("batch", {**event("batch_rejected"), "source": given["source"], "error": error})
            else:
                self.call("batch", {**event("batch_report"), "plan": plan})


class Seen:
    """All outputs for people and programs."""

    def __init__(self, doors: Doors, account: CommandLine) -> None:
        self.doors, self.account, self.world = doors, account, doors.world

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield each output's source and line."""
        for text in self.doors.said:
            yield "answer", text
        for line in self.doors.stage._log.getvalue().split("\n"):
            yield "log", line
        yield from self._sent()
        for item in self.world.s3.list_objects_v2(Bucket=VIDEOS).get("Contents", ()):
            text = self.world.s3.get_object(Bucket=VIDEOS, Key=item["Key"])["Body"].read().decode()
            yield from (("report", line) for line in text.split("\n"))

    def _sent(self) -> Iterator[tuple[str, str]]:
        topic = sns_backends[DEFAULT_ACCOUNT_ID][REGION].topics[TOPIC]
        for _, text, subject, _, _ in topic.sent_notifications:
            parts = json.loads(text)
            yield "subject", subject
            yield "notification", parts["default"]
            yield "sms", parts["sms"]
            yield from (("mail", line) for line in parts["email"].split("\n"))

    def commands(self, word: str) -> Iterator[str]:
        """Return the output of the commands, also with the text in their arguments."""
        found: list[tuple[str, ...]] = [("show", job_id) for job_id in sorted(self.doors.jobs)[:MOST_SHOWN]]
        found += [("list",), ("list", "--status", "failed"), ("redrive", "--all", "--dry-run")]
        found += [("show", word), ("attach", word, word), ("redrive", word, "--yes"), ("list", "--status", word)]
        for arguments in found:
            try:
                _, out, err = self.account.run(*arguments)
            except SystemExit:  # argparse's own
                captured = self.account.capsys.readouterr()
                out, err = captured.out, captured.err
            yield from f"{out}{err}".split("\n")


_FORGED = re.compile(r"://evil|(?<!\[)\bwww\.evil|\w@evil|[a-z]:/?evil|^(?:Video|What to do): +https?:", re.IGNORECASE)
_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0d\uffa0\U000e0100-\U000e01ef]|[a-z]\ufe0f"
)
DOORS: list[Callable[[Doors, str], None]] = [
    Doors.key,
    Doors.recipe,
    Doors.body,
    Doors.vendor,
    Doors.cause,
    Doors.batch,
]


@pytest.mark.parametrize("number", range(THROUGH_DOORS))
def test_no_word_steers_a_terminal_or_forges_a_line_or_link(
    stage: Functions, account: CommandLine, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    client = functools.cache(lambda _, service: boto3.client(service))
    monkeypatch.setattr(Stack, "client", client)
    doors = Doors(stage)
    seen = Seen(doors, account)
    last = ""
    for place, word in enumerate(words(number)):
        DOORS[(place + number) % len(DOORS)](doors, word)
        last = word
    found = [*seen.lines(), *(("command", line) for line in seen.commands(last))]
    assert {where for where, _ in found} == {
        "answer",
        "log",
        "subject",
        "notification",
        "sms",
        "mail",
        "report",
        "command",
    }
    for where, line in found:
        require_harmless(where, line)


def require_harmless(where: str, line: str) -> None:
    assert not [sign for sign in line if not sign.isprintable() and sign not in "\xa0\u202f\u3000"], (where, line)
    assert not _NOTHING.search(line), (where, line)
    # The JSON report repeats a key unchanged, because blanks hide nothing there.
    if where in ("subject", "sms", "mail", "command") or (where == "report" and not line.startswith("{")):
        assert not re.search(" {60}", line), (where, line)
    if where in ("subject", "sms", "mail"):
        assert not _FORGED.search(line), (where, line)


def shown_of(word: str) -> Iterator[tuple[str, str]]:
    """Return all outputs about a job that has the text wherever a record may have one."""
    fault = UploadMisplaced(f"the key '{word}' starts nothing", issues=({"path": word, "message": word},))
    source = {"type": "batch", "bucket": "b", "key": f"batches/{word}.csv", "line": 3, "caller": word}
    job = Job(
        job_id="job",
        status=Status.FAILED,
        created_at="2026-11-22T10:15:30Z",
        source=source,
        metadata={word: word},
        recipe=word,
        model_id=word,
        video_id=word,
        vendor_status=word,
        other_videos={word: {"output": {"bucket": "b", "key": word}}},
        error={**fault.document(), "message": word, "action_url": "https://a.example/"},
        retrying={"error": {"code": word, "message": word}, "tries": 1, "since": "x", "next_try_by": "x"},
        execution=arn_of("job"),
        notice_due="failed",
    )
    yield "answer", str(fault)
    for notification in (notification_for(job), notification_of_upload("id", source, fault=fault, occurred_at="x")):
        yield from (
            ("subject", notification.subject),
            ("sms", notification.short),
            ("notification", json_text(notification.message)),
        )
        yield from (("mail", line) for line in notification.text.split("\n"))
    row = {
        "line": 3,
        "status": "failed",
        "error": {"code": word, "message": word},
        "video": {"bucket": "b", "key": word},
    }
    yield from (("report", line) for line in _table([row]).split("\n"))
    output.say(*output.facts(facts(job, {"status": word})))
    output.console().print(looking._table([job]))
    yield "json", json_text(document(job))


def test_nothing_that_shows_a_record_lets_a_word_through(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(max(1, COUNT // A_TIME)):
        for word in words(number):
            for where, line in shown_of(word):
                require_harmless(where, line)
        for line in capsys.readouterr().out.split("\n"):
            require_harmless("command", line)
