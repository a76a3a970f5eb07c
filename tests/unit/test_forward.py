"""Test that each notification is forwarded to the bus and to the chat room, with the same content and no more."""

from __future__ import annotations

import html
import json
from types import SimpleNamespace
from typing import Any

import pytest

from shared.jobs.errors import RecipeMissing
from shared.jobs.notifications import notification_of_batch
from shared.jobs.states import STATES, Status
from shared.printable import json_text
from shared.runtime import AwsCallFailed
from shared.steps import forward
from shared.steps.forward import Forwarder, detail_type
from shared.steps.notify import publish
from tests.support.fakes import CHAT_TOPIC, EXECUTION, JOB_ID, PROMPT, TOPIC, VIDEOS, Message, World, caught, client
from tests.support.notifications import SCHEMA, valid


def forwarder(**options: Any) -> Forwarder:
    return Forwarder(**{"bus": ("default", client("events")), "chat": (CHAT_TOPIC, client("sns")), **options})


def as_sent(message: Message) -> dict[str, Any]:
    """Return a message as SNS passes it to a function."""
    attributes = {name: {"Type": "String", "Value": value} for name, value in message.attributes.items()}
    return {"Message": json_text(message.body), "MessageAttributes": attributes}


@pytest.fixture
def room(world: World) -> World:
    """The account with a bus whose events are kept, and a chat room."""
    assert world.events
    assert world.chat
    return world


def failed(world: World, key: str = "uploads/red shoe.jpg", message: str = "no recipe") -> Message:
    world.store.create(JOB_ID, source={"type": "upload", "bucket": "b", "key": key})
    world.notifier().failed(EXECUTION, caught(RecipeMissing(message)))
    (sent,) = world.messages()
    return sent


def test_an_event_holds_the_notification_and_nothing_more(room: World) -> None:
    room.paid_job()
    room.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": VIDEOS, "key": "videos/a.mp4"})
    room.notifier().succeeded(EXECUTION)
    (sent,) = room.messages()
    forwarder().forward(as_sent(sent))
    (event,) = room.events()
    assert (event["source"], event["detail-type"]) == ("genviral.video", "Video Succeeded")
    assert event["detail"] == sent.body
    assert event["resources"] == [EXECUTION]
    valid(event["detail"])
    assert PROMPT not in json.dumps([event, *room.chat()])


def test_a_repeat_is_recognized_by_its_notification_id(room: World) -> None:
    sent = as_sent(failed(room))
    for _ in range(2):
        forwarder().forward(sent)
    assert len({event["detail"]["notification_id"] for event in room.events()}) == 1
    assert len({message["id"] for message in room.chat()}) == 1


@pytest.mark.parametrize("status", [status for status in Status if STATES[status].summary])
def test_the_type_of_an_event_names_the_status(status: Status) -> None:
    words = detail_type({"job_id": JOB_ID, "status": status.value})
    assert words.startswith("Video ")
    assert words.removeprefix("Video ").lower().replace(" ", "_") == status.value
    assert detail_type({"status": "batch_finished"}) == "Batch Finished"


def test_what_a_message_needs_is_what_the_schema_requires() -> None:
    assert set(SCHEMA["required"]) == forward._REQUIRED


def test_an_event_that_the_bus_does_not_take_is_tried_again(room: World) -> None:
    refused = SimpleNamespace(put_events=lambda **_: {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "Throttled"}]})
    with pytest.raises(AwsCallFailed, match="PutEvents failed with Throttled"):
        forwarder(bus=("default", refused)).forward(as_sent(failed(room)))
    assert len(room.chat()) == 1, "the room is not silenced by the bus"


@pytest.mark.parametrize("missing", ["bus", "chat"])
def test_what_is_not_wanted_is_not_sent(room: World, missing: str) -> None:
    forwarder(**{missing: None}).forward(as_sent(failed(room)))
    assert (len(room.events()), len(room.chat())) == ((0, 1) if missing == "bus" else (1, 0))


FOREIGN = json.dumps(dict.fromkeys(("notification_id", "status", "summary", "source"), "of another program"))


@pytest.mark.parametrize("text", ["hello", "[]", "{}", '{"version": "1.0", "source": "custom"}', "\ud800", FOREIGN])
def test_what_somebody_else_published_is_not_forwarded(room: World, text: str) -> None:
    forwarder().forward({"Message": text, "MessageAttributes": {}})
    assert (room.events(), room.chat()) == ([], [])


def test_a_row_that_its_report_tells_of_is_an_event_but_no_chat(room: World) -> None:
    sent = as_sent(failed(room))
    sent["MessageAttributes"]["reported_in"] = {"Type": "String", "Value": "batch"}
    forwarder().forward(sent)
    assert (len(room.events()), len(room.chat())) == (1, 0)


def test_a_batch_is_forwarded_too(room: World) -> None:
    source = {"type": "batch", "bucket": "b", "key": "batches/boats.csv"}
    notice = notification_of_batch(
        "batch-1", "batch_finished", source=source, occurred_at="2026-11-22T10:19:04Z", paid="yes", execution=EXECUTION
    )
    publish(notice, sns=room.sns, topic_arn=TOPIC)
    forwarder().forward(as_sent(room.messages()[0]))
    assert [event["detail-type"] for event in room.events()] == ["Batch Finished"]
    (message,) = room.chat()
    assert message["metadata"]["threadId"] == "batch-1"


HOSTILE = "uploads/a```<!channel> @here https://evil.example/ *b* _c_ [d](e) :boom: www.evil.example\n# e.jpg"


def test_chat_shows_words_from_outside_in_a_block_of_code(room: World) -> None:
    forwarder().forward(as_sent(failed(room, key=HOSTILE, message="no *recipe* <@U1> ```")))
    (message,) = room.chat()
    assert (message["version"], message["source"]) == ("1.0", "custom")
    assert message["content"]["title"] == f":warning: {STATES[Status.FAILED].summary}"
    before, block, links = message["content"]["description"].split("```")
    assert before == ""
    assert "<" not in block
    assert "no *recipe* &lt;[@]U1&gt;" in block
    assert RecipeMissing.advice in html.unescape(block)
    assert "evil" not in links
    assert links.split()[-1].startswith("https://us-east-1.console.aws.amazon.com/states/")
    assert message["metadata"]["additionalContext"] == {
        "status": "failed",
        "job_id": JOB_ID,
        "error_code": RecipeMissing.code,
    }


def test_a_long_error_keeps_the_block_closed_and_the_links_whole(room: World) -> None:
    forwarder().forward(as_sent(failed(room, message="x" * 20_000)))
    (message,) = room.chat()
    description = message["content"]["description"]
    assert len(description) <= 8000
    assert description.count("```") == 2
    assert description.endswith(JOB_ID)
