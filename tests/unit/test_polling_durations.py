"""Test that durations survive repeats and concurrent writers, fit one small item, and follow a changing model."""

from __future__ import annotations

from shared.jobs import identity
from shared.polling.durations import SLOTS, Durations, kind_of
from tests.support.fakes import TABLE, World

KIND = kind_of("bytedance/seedance-2.0", {"params": {"duration_seconds": 5}})


def durations(world: World) -> Durations:
    return Durations(world.dynamodb, TABLE)


def test_nothing_is_known_of_a_kind_that_was_never_seen(world: World) -> None:
    durations(world).learn(KIND, "job-1", 61.25)
    assert durations(world).of("#model other") == []
    assert durations(world).of(KIND) == [61.2]


def test_a_repeat_counts_once(world: World) -> None:
    for _ in range(3):
        durations(world).learn(KIND, "job-1", 60)
    assert durations(world).of(KIND) == [60.0]


def test_writers_lose_nothing_because_none_reads_first(world: World) -> None:
    calls: list[str] = []
    world.dynamodb.meta.events.register("before-call.dynamodb", lambda model, **_: calls.append(model.name))
    for number in range(200):
        durations(world).learn(KIND, f"job-{number}", number)
    assert calls == ["UpdateItem"] * 200
    assert len(durations(world).of(KIND)) == SLOTS


def test_a_model_that_became_faster_is_believed_after_a_hundred_jobs(world: World) -> None:
    for number in range(200):
        durations(world).learn(KIND, f"slow-{number}", 600)
    for number in range(100):
        durations(world).learn(KIND, f"fast-{number}", 60)
    learned = durations(world).of(KIND)
    assert learned.count(60.0) >= 0.9 * SLOTS


def test_a_kind_is_one_small_item_that_is_no_job_and_expires(world: World) -> None:
    for number in range(200):
        durations(world).learn(KIND, f"job-{number}", 10_000 + number)
    item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": KIND}})["Item"]
    size = sum(len(name) + len(next(iter(value.values()))) for name, value in item.items())
    assert size < 1024, "more than a kilobyte is a second write unit for each job"
    assert int(item["expires_at"]["N"]) > 1_700_000_000
    assert not identity.is_job_id(KIND)
    assert "status" not in item, "the index of jobs by status must not show it"


def test_a_kind_is_a_model_and_the_length_asked_for() -> None:
    def kind(**request: object) -> str:
        return kind_of("model", request)

    assert kind(params={"duration_seconds": 5}) == kind(params={"duration_seconds": 5.0}, prompt="x")
    assert kind(params={"duration_seconds": 10}) != kind(params={"duration_seconds": 5})
    assert kind(params={"fps": 24}) == kind() == kind(params=None)
