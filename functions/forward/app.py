"""Forward the topic's notifications to an event bus and to a chat room. Subscribed only where one of them is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.faults import Paid
from shared.runtime import client, entrypoint, settings
from shared.steps.forward import Forwarder


@dataclass(frozen=True, slots=True)
class Settings:
    """The function's environment. What is empty is not wanted."""

    event_bus_name: str = ""
    chat_topic_arn: str = ""


@entrypoint(paid=Paid.UNKNOWN)
def handler(event: dict[str, Any], context: object) -> None:
    """Forward each message of the event."""
    config = settings(Settings)
    forwarder = Forwarder(
        bus=(config.event_bus_name, client("events")) if config.event_bus_name else None,
        chat=(config.chat_topic_arn, client("sns")) if config.chat_topic_arn else None,
    )
    for record in event["Records"]:
        forwarder.forward(record["Sns"])
