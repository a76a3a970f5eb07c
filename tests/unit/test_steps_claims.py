"""Test claims: a running attempt is waited for, and a claim without a POST never ends as uncertain."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from ops.exits import Refused
from ops.next_step import next_step
from shared.faults import Paid
from shared.genviral.errors import (
    InsufficientCredits,
    InvalidInput,
    RateLimited,
    SubmissionUncertain,
    SubmissionUnconfirmed,
)
from shared.jobs.errors import (
    DailyLimitReached,
    JobClosed,
    RecipeMissing,
    SubmissionInProgress,
)
from shared.jobs.record import SUBMIT_SECONDS
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore, TransitionConflict
from shared.runtime import AwsCallFailed
from shared.steps import claims
from shared.steps.tries import RESERVE_SECONDS, tries
from tests.support.credits import priced, spent
from tests.support.fakes import (
    EXECUTION,
    JOB_ID,
    TABLE,
    UPLOADS,
    VIDEO_ID,
    Clock,
    TimeLeft,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    caught,
    failed,
    refusing,
)
from tests.support.operators import dead, operator_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.jobs.record import Job
    from shared.requests.resolve import Resolution

GIVEN = {"job_id": JOB_ID}
NOW = 1_800_000_000
LONGEST = SUBMIT_SECONDS + 30
SILENT: list[BotoCoreError | ClientError] = [
    ReadTimeoutError(endpoint_url="https://dynamodb"),
    ConnectTimeoutError(endpoint_url="https://dynamodb"),
    EndpointConnectionError(endpoint_url="https://dynamodb"),
    ConnectionClosedError(endpoint_url="https://dynamodb"),
    failed("UpdateItem"),
    ClientError(
        {"Error": {"Code": "ServiceUnavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}},  # type: ignore[typeddict-item]  # the response's other keys are not read
        "UpdateItem",
    ),
    ClientError(
        {"Error": {"Code": "TransactionInProgressException"}, "ResponseMetadata": {"HTTPStatusCode": 400}},  # type: ignore[typeddict-item]  # the response's other keys are not read
        "TransactWriteItems",
    ),
]
OPERATIONS = ("update_item", "transact_write_items")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOW)
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture(autouse=True)
def _another_process() -> None:
    claims._unpaid.clear()


class Table:
    """A client whose writes of a job follow a script: `ok`, or failures `before` or `after` they take effect.

    Args:
        real: The client that carries the calls.
        error: What the failing ones raise.
        then: What happens to every further write.
        reads: The same for reads.
    """

    def __init__(
        self, real: Any, *script: str, error: Exception | None = None, then: str = "ok", reads: str = "ok"
    ) -> None:
        self._real, self._script, self._then, self._reads = real, list(script), then, reads
        self._error = error or SILENT[0]
        self.writes = 0
        self.asked: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._real, name)
        if name not in (*OPERATIONS, "get_item"):
            return member

        def call(**arguments: Any) -> Any:
            if name == "get_item":
                how = self._reads if self.writes else "ok"
            else:
                self.writes += 1
                how = self._script.pop(0) if self._script else self._then
            self.asked.append(arguments)
            if how == "before":
                raise self._error
            if how == "ok":
                return member(**arguments)
            with suppress(ClientError):  # a refusal is lost as well
                member(**arguments)
            raise self._error

        return call


def submit(world: World, client: Any = None, *, limit: float = 0, **options: Any) -> dict[str, Any]:
    table = client or world.dynamodb
    limiter = world.limiter(limit, table) if limit else None
    return world.submitter(JobStore(table, TABLE), limiter=limiter, **options).submit(EXECUTION, GIVEN)


# ---- an attempt that may still be running ----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
@pytest.mark.parametrize("trust", [False, True], ids=["", "trusted key"])
def test_an_attempt_that_may_still_be_running_is_waited_for(
    world: World, clock: Clock, trust: bool, limit: float
) -> None:
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    for age in (0, 1, LONGEST - 1):
        clock.now = NOW + age
        with pytest.raises(SubmissionInProgress) as waits:
            submit(world, trust=trust, limit=limit)
        assert (waits.value.paid, waits.value.retry_after) == (Paid.UNKNOWN, LONGEST - age)
        assert "2027-01-15 08:05:30 UTC" in waits.value.message
    assert (world.record().claim, world.vendor.asked) == ("the first", [])
    clock.now = NOW + LONGEST
    if trust:
        assert submit(world, trust=trust, limit=limit)["video_id"] == VIDEO_ID
    else:
        with pytest.raises(SubmissionUncertain):
            submit(world, limit=limit)
        assert not world.vendor.posts


def test_a_claim_that_was_taken_over_is_as_young_as_its_last_attempt(world: World, clock: Clock) -> None:
    """The hour of a trusted key continues. The time in which an attempt may run starts again."""
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    clock.now += 1000
    world.store.claim(JOB_ID, "the second", take_over="the first")
    assert (world.record().claimed_at, world.record().attempt_at) == (NOW, NOW + 1000)
    with pytest.raises(SubmissionInProgress):
        submit(world, trust=True)


def test_a_claim_of_an_older_version_counts_from_when_it_was_taken(world: World, clock: Clock) -> None:
    world.job(claim="the first", claimed_at=NOW - LONGEST + 1)
    with pytest.raises(SubmissionInProgress):
        submit(world)
    world.store.update(JOB_ID, claimed_at=NOW - LONGEST)
    with pytest.raises(SubmissionUncertain):
        submit(world)


def test_a_clock_that_is_ahead_makes_no_claim_older(world: World, clock: Clock) -> None:
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    clock.now -= 60
    with pytest.raises(SubmissionInProgress):
        submit(world)


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
def test_a_late_answer_finds_its_job_waiting(world: World, limit: float) -> None:
    """Step Functions abandoned the first call, its function kept running, and the retry came in between."""
    world.job()
    world.know_price(5)

    def slow(request: httpx.Request) -> httpx.Response:
        for _ in range(3):
            with pytest.raises(SubmissionInProgress):
                submit(world, limit=limit)
        return accepting()(request)

    world.vendor = Vendor([slow, accepting("a second one")])
    first = submit(world, limit=limit)
    assert submit(world, limit=limit)["video_id"] == first["video_id"] == VIDEO_ID
    assert (world.record().status, world.vendor.accepted, world.messages()) == (Status.PROCESSING, 1, [])


@pytest.mark.parametrize("trust", [False, True])
def test_who_waits_for_a_refused_attempt_sends_afterwards(world: World, trust: bool) -> None:
    world.job()

    def slow(request: httpx.Request) -> httpx.Response:
        with pytest.raises(SubmissionInProgress):
            submit(world, trust=trust)
        return refusing(429)(request)

    world.vendor = Vendor([slow, accepting()])
    with pytest.raises(RateLimited):
        submit(world, trust=trust)
    assert submit(world, trust=trust)["video_id"] == VIDEO_ID


@pytest.mark.parametrize("trust", [False, True])
def test_an_attempt_that_knows_its_end_is_not_waited_for(world: World, trust: bool) -> None:
    world.vendor = Vendor([breaking(httpx.ReadTimeout), refusing(429), accepting()])
    world.job()
    with pytest.raises(SubmissionUncertain):
        submit(world, trust=trust)
    if not trust:
        with pytest.raises(SubmissionUncertain):
            submit(world)
        assert len(world.vendor.posts) == 1
        return
    with pytest.raises(RateLimited):  # says nothing about the first call: the claim stays
        submit(world, trust=True)
    assert submit(world, trust=True)["video_id"] == VIDEO_ID


@pytest.mark.parametrize("trust", [False, True])
def test_an_attempt_that_could_not_say_that_it_has_ended_is_waited_for(world: World, trust: bool) -> None:
    world.vendor = Vendor([breaking(httpx.ReadTimeout), accepting()])
    world.job()
    with pytest.raises(SubmissionUnconfirmed if trust else SubmissionUncertain):
        submit(world, Table(world.dynamodb, "ok", then="before"), trust=trust)
    with pytest.raises(SubmissionInProgress):
        submit(world, trust=trust)


class LateClaims(JobStore):
    """A store that runs an action right before each claim."""

    def __init__(self, world: World, act: Callable[[], None]) -> None:
        super().__init__(world.dynamodb, TABLE)
        self._act = act

    def claim(self, *given: Any, **more: Any) -> Job:
        self._act()
        return super().claim(*given, **more)

    def claim_counted(self, *given: Any, **more: Any) -> Job:
        self._act()
        return super().claim_counted(*given, **more)


class Overtaken:
    """A resolver that lets another attempt act, and then rejects the request."""

    bucket = UPLOADS

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act: Callable[[], Any] | None = act

    def resolve(self, _: Job) -> Resolution:
        if act := self._act:
            self._act = None
            act()
        raise RecipeMissing("there is no readable recipes/default.json")


def overtaken(world: World, act: Callable[[], Any]) -> dict[str, Any]:
    submitter = replace(world.submitter(), resolver=Overtaken(act))  # type: ignore[arg-type]  # a double of the resolver
    return submitter.submit(EXECUTION, GIVEN)


def test_a_refusal_before_the_claim_spares_another_attempts_job(world: World) -> None:
    world.job()
    with pytest.raises(SubmissionInProgress):
        overtaken(world, lambda: world.store.claim(JOB_ID, "quicker", execution=EXECUTION))
    world.store.release(JOB_ID, "quicker", {"code": "rate_limited"})
    with pytest.raises(RecipeMissing):
        overtaken(world, lambda: None)
    assert overtaken(world, lambda: world.store.record_accepted(JOB_ID, VIDEO_ID))["video_id"] == VIDEO_ID


def test_no_refusal_ends_a_job_that_another_attempt_is_sending(world: World) -> None:
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    with pytest.raises(SubmissionInProgress):
        world.notifier().failed(EXECUTION, caught(InvalidInput("no")))
    assert (world.record().status, world.messages()) == (Status.SUBMITTING, [])
    world.age_claim()
    for _ in range(2):
        assert world.notifier().failed(EXECUTION, caught(InvalidInput("no")))["status"] == "uncertain"
    assert len(world.messages()) == 1


def test_no_refusal_ends_a_job_that_is_claimed_in_the_same_moment(world: World) -> None:
    world.job()

    class Claiming(JobStore):
        def close(self, job_id: str, target: Status, **options: Any) -> Any:
            if target is Status.FAILED:
                world.store.claim(JOB_ID, "the first", execution=EXECUTION)
            return super().close(job_id, target, **options)

    with pytest.raises(SubmissionInProgress):
        world.notifier(store=Claiming(world.dynamodb, TABLE)).failed(EXECUTION, caught(InvalidInput("no")))
    assert (world.record().status, world.messages()) == (Status.SUBMITTING, [])


def test_the_attempts_own_unknown_outcome_ends_its_job_at_once(world: World) -> None:
    world.vendor = Vendor([breaking(httpx.ReadTimeout)])
    world.job()
    with pytest.raises(SubmissionUncertain) as uncertain:
        submit(world, Table(world.dynamodb, "ok", then="before"))
    for _ in range(2):
        assert world.notifier().failed(EXECUTION, caught(uncertain.value))["status"] == "uncertain"
    assert len(world.messages()) == 1


def test_nobody_resubmits_a_job_that_is_being_sent(world: World, clock: Clock) -> None:
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    world.store.transition(JOB_ID, Status.UNCERTAIN)
    asked: list[Job] = []
    with pytest.raises(Refused, match=r"from 2027-01-15 08:05:30 UTC on"):
        operator_of(world).resubmit(JOB_ID, asked.append)
    said = next_step(world.record(), None, intake_stopped=False, sweep_by="soon")
    assert "wait until 2027-01-15 08:05:30 UTC" in said
    assert (asked, world.record().resubmissions, world.executions()) == ([], 0, [])
    clock.now += LONGEST
    operator_of(world).resubmit(JOB_ID, asked.append)
    assert (len(asked), world.record().resubmissions) == (1, 1)


def test_a_job_whose_attempt_said_that_it_ended_is_resubmitted_at_once(world: World) -> None:
    world.vendor = Vendor([breaking(httpx.ReadTimeout), accepting()])
    world.job()
    with pytest.raises(SubmissionUncertain) as uncertain:
        submit(world)
    world.notifier().failed(EXECUTION, caught(uncertain.value))
    operator_of(world).resubmit(JOB_ID)
    assert world.record().resubmissions == 1


# ---- a claim whose answer was lost -----------------------------------------------------------------------------------

LOST = [["after"], ["before"], ["after", "after"], ["before", "after"], ["after", "before"], ["before", "before"]]


@pytest.mark.parametrize("error", SILENT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("limit", [0, 5], ids=["no limit", "daily limit"])
def test_a_claim_whose_answer_was_lost_is_recognised(world: World, limit: float, error: Exception) -> None:
    for number, script in enumerate(LOST):
        world.dynamodb.delete_item(TableName=TABLE, Key={"job_id": {"S": JOB_ID}})
        world.vendor = Vendor()
        world.job()
        world.know_price(5)
        client = Table(world.dynamodb, *script, error=error)
        assert submit(world, client, limit=limit * (number + 1))["video_id"] == VIDEO_ID, script
        assert len(world.vendor.posts) == 1, script
        assert world.record().status is Status.PROCESSING, script
        assert spent(world) == limit * (number + 1), script


@pytest.mark.parametrize("limit", [0, 5], ids=["no limit", "daily limit"])
@pytest.mark.parametrize("landed", ["before", "after"])
@pytest.mark.parametrize("given_back", [["ok"], ["after"], ["before", "ok"], ["before", "after"]], ids="-".join)
def test_a_claim_that_stays_unanswered_is_given_back(
    world: World, limit: float, landed: str, given_back: list[str]
) -> None:
    world.job()
    world.know_price(5)
    client = Table(world.dynamodb, *[landed] * 3, *given_back)
    with pytest.raises(BotoCoreError):
        submit(world, client, limit=limit)
    assert (world.record().claim, world.vendor.posts, spent(world)) == (None, [], 0)
    claims._unpaid.clear()
    assert submit(world, limit=limit)["video_id"] == VIDEO_ID
    assert (len(world.vendor.posts), spent(world)) == (1, limit)


@pytest.mark.parametrize("reads", ["ok", "before"])
@pytest.mark.parametrize("limit", [0, 5], ids=["no limit", "daily limit"])
def test_a_claim_that_cannot_be_given_back_is_known_to_its_process(world: World, limit: float, reads: str) -> None:
    world.job()
    world.know_price(5)
    for script in (["after"] * 3, []):
        with pytest.raises(BotoCoreError):
            submit(world, Table(world.dynamodb, *script, then="before", reads=reads), limit=limit)
        assert world.record().claim is not None
    assert submit(world, limit=limit)["video_id"] == VIDEO_ID
    assert (len(world.vendor.posts), spent(world)) == (1, limit)
    assert not claims._unpaid


def test_another_process_waits_for_such_a_claim_and_then_asks_a_person(world: World) -> None:
    world.job()
    with pytest.raises((ClientError, BotoCoreError)):
        submit(world, Table(world.dynamodb, *["after"] * 3, then="before"))
    claims._unpaid.clear()
    with pytest.raises(SubmissionInProgress):
        submit(world)
    world.age_claim()
    with pytest.raises(SubmissionUncertain):
        submit(world)


def test_a_refusal_that_could_not_free_its_job_is_known_to_its_process(world: World) -> None:
    world.vendor = Vendor([refusing(429), accepting()])
    world.job()
    with pytest.raises(RateLimited):
        submit(world, Table(world.dynamodb, "ok", then="before"))
    assert world.record().claim is not None
    assert submit(world)["video_id"] == VIDEO_ID


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
@pytest.mark.parametrize("way", ["given back", "refused before it landed"])
def test_a_claim_that_lands_after_it_was_given_back_is_refused(world: World, way: str, limit: float) -> None:
    """A request can arrive after its sender has given up, whatever was given up before and since."""
    world.job()
    read: list[Job] = []

    def claim(seen: Job, attempt: str) -> None:
        if limit:
            reserved, counter = world.limiter(limit).counter.reserve(5)
            world.store.claim_counted(seen, attempt, reservation=reserved, counter=counter)
        else:
            world.store.claim(JOB_ID, attempt, given_back=seen.claims_given_back)

    for number in range(7):
        read.append(world.record())
        if way == "given back":
            claim(read[-1], f"attempt {number}")
            world.limiter(limit).release(world.record(), f"attempt {number}", {"code": "rate_limited"})
        else:
            world.store.refuse_claim(JOB_ID, f"attempt {number}")
    for number, seen in enumerate(read):
        with pytest.raises(TransitionConflict):
            claim(seen, f"attempt {number}")
    assert (world.record().claim, spent(world)) == (None, 0)
    claim(world.record(), "another")
    assert world.record().claim == "another"
    with pytest.raises(TransitionConflict):
        world.store.refuse_claim(JOB_ID, "another")


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
def test_a_job_whose_claim_was_given_back_since_it_was_read_is_read_again(world: World, limit: float) -> None:
    world.job()
    world.know_price(5)

    def release_another() -> None:
        if not world.record().claims_given_back:
            world.store.claim(JOB_ID, "another", execution=EXECUTION)
            world.store.release(JOB_ID, "another", {"code": "rate_limited"})

    late = LateClaims(world, release_another)
    limiter = replace(world.limiter(limit), store=late) if limit else None
    assert world.submitter(late, limiter=limiter).submit(EXECUTION, GIVEN)["video_id"] == VIDEO_ID
    assert (len(world.vendor.posts), spent(world)) == (1, limit and 5)


@pytest.mark.parametrize("pause", [1, 600, 900, 1800, 3600])
def test_a_record_does_not_grow_with_the_attempts_of_a_long_hold(
    world: World, monkeypatch: pytest.MonkeyPatch, pause: int
) -> None:
    now = [1_800_000_000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    world.vendor = Vendor([refusing(402, "insufficient_credits")])
    world.job()
    sizes = []
    for _ in range(30):
        with pytest.raises(InsufficientCredits):
            world.submitter().submit(EXECUTION, GIVEN)
        now[0] += pause
        item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": JOB_ID}})["Item"]
        sizes.append(len(json.dumps(item)))
    assert sizes[-1] - sizes[0] <= len("30") - len("1")


def test_a_claim_that_lands_while_it_is_given_back_is_given_back(world: World) -> None:
    world.job()

    class Late(Table):
        """The claim takes effect right before the write that forbids it."""

        def __getattr__(self, name: str) -> Any:
            if name == "update_item" and self.writes == 3:
                attempt = self.asked[-2]["ExpressionAttributeValues"][":claim"]["S"]
                world.store.claim(JOB_ID, attempt, execution=EXECUTION)
            return super().__getattr__(name)

    client = Late(world.dynamodb, *["before"] * 3)
    with pytest.raises(BotoCoreError):
        submit(world, client)
    assert client.writes > 4
    assert world.record().claim is None
    assert submit(world)["video_id"] == VIDEO_ID


def test_what_dynamodb_refuses_is_not_asked_again(world: World) -> None:
    world.job()
    denied = ClientError(
        {"Error": {"Code": "AccessDeniedException"}, "ResponseMetadata": {"HTTPStatusCode": 400}},  # type: ignore[typeddict-item]  # the response's other keys are not read
        "UpdateItem",
    )
    client = Table(world.dynamodb, error=denied, then="before")
    with pytest.raises(ClientError):
        submit(world, client)
    assert client.writes == 1


@pytest.mark.parametrize("close", [Status.CANCELED, Status.FAILED], ids=lambda status: status.value)
def test_a_job_that_is_closed_between_a_claim_and_its_repeat_was_not_sent(world: World, close: Status) -> None:
    """botocore repeats a write whose answer was lost. The claim that it finds is this attempt's own."""
    world.job()

    class Repeating(Table):
        def __getattr__(self, name: str) -> Any:
            member = super().__getattr__(name)
            if name != "update_item" or self.writes:
                return member

            def twice(**arguments: Any) -> Any:
                member(**arguments)
                world.store.transition(JOB_ID, close)
                return member(**arguments)

            return twice

    with pytest.raises(JobClosed) as raised:
        submit(world, Repeating(world.dynamodb))
    assert raised.value.paid is Paid.NO
    job = world.record()
    assert (job.status, job.claim, job.paid, world.vendor.posts) == (close, None, Paid.NO, [])


def test_a_limit_reached_after_an_unanswered_claim_leaves_no_claim(world: World) -> None:
    world.job()
    world.job("another")
    world.know_price(5)

    class Racing(Table):
        """The claim is lost on its way, and another job takes the credits."""

        def __getattr__(self, name: str) -> Any:
            if name == "transact_write_items" and self.writes == 1:
                limiter = world.limiter(5)
                world.submitter(limiter=limiter).submit(EXECUTION.replace(JOB_ID, "another"), {})
            return super().__getattr__(name)

    client = Racing(world.dynamodb, "before")
    with pytest.raises(DailyLimitReached):
        submit(world, client, limit=5)
    assert (world.record().claim, spent(world)) == (None, 5)


def test_a_claim_that_took_too_long_is_given_back_unsent(world: World) -> None:
    world.job()
    left = [300.0, 100.0]
    submitter = replace(world.submitter(), remaining=lambda: left.pop(0))
    with pytest.raises(AwsCallFailed) as cut_off:
        submitter.submit(EXECUTION, GIVEN)
    assert (cut_off.value.paid, world.record().claim, world.vendor.posts) == (Paid.NO, None, [])


@pytest.mark.parametrize("script", [["after"] * 3, ["before"] * 3, ["before", "after", "before"]], ids="-".join)
def test_a_claim_taken_over_unanswered_keeps_the_first_calls_cost(world: World, script: list[str]) -> None:
    world.job()
    world.store.claim(JOB_ID, "the first", execution=EXECUTION)
    world.age_claim()
    with pytest.raises((ClientError, BotoCoreError)):
        submit(world, Table(world.dynamodb, *script), trust=True)
    job = world.record()
    assert job.claim is not None
    assert (job.status, job.paid) == (Status.SUBMITTING, Paid.UNKNOWN)
    assert submit(world, trust=True)["video_id"] == VIDEO_ID
    assert len(world.vendor.posts) == 1


# ---- trouble that lasts ----------------------------------------------------------------------------------------------


class Refusing:
    """A DynamoDB that fails the first writes of one kind."""

    def __init__(self, real: Any, kind: str, many: int) -> None:
        self._real, self._kind, self.left = real, kind, many

    def __getattr__(self, name: str) -> Any:
        member: Any = getattr(self._real, name)
        if name != "update_item":
            return member

        def call(**arguments: Any) -> Any:
            if self.left and self._kind in arguments.get("ExpressionAttributeNames", {}):
                self.left -= 1
                raise failed(name, "ThrottlingException")
            return member(**arguments)

        return call


def test_a_refused_call_releases_its_claim_when_dynamodb_recovers(world: World) -> None:
    world.job()
    world.vendor = Vendor([refusing(429)])
    client = Refusing(world.dynamodb, "#given_back", 50)
    with pytest.raises(RateLimited):
        world.submitter(JobStore(client, TABLE)).submit(EXECUTION, {"job_id": JOB_ID})  # type: ignore[arg-type]  # a double of the client
    assert (client.left, world.record().claim, world.record().status) == (0, None, Status.QUEUED)


def test_an_accepted_video_is_recorded_when_dynamodb_recovers(world: World) -> None:
    """A cancel before the first poll needs it."""
    world.job()
    client = Refusing(world.dynamodb, "#video_id", 50)
    world.submitter(JobStore(client, TABLE)).submit(EXECUTION, {"job_id": JOB_ID})  # type: ignore[arg-type]  # a double of the client
    assert (client.left, world.record().video_id) == (0, VIDEO_ID)
    world.cancel_job(JOB_ID)
    assert (world.record().status, world.messages()[-1].body["video_id"]) == (Status.CANCELED, VIDEO_ID)


def test_what_is_repeated_leaves_the_function_time_to_answer() -> None:
    time_left = TimeLeft(60.0)
    assert list(tries(time_left, time_left.sleep))[-1] > 5
    assert RESERVE_SECONDS <= time_left.seconds < RESERVE_SECONDS + 5
    assert list(tries(lambda: 0.0, time_left.sleep)) == [1], "what has no time left is tried once all the same"


@pytest.mark.parametrize("limit", [0, 100], ids=["no limit", "daily limit"])
def test_an_attempt_of_an_execution_that_lost_its_job_sends_nothing(world: World, limit: float) -> None:
    """It was abandoned, keeps running, and reaches its claim after an operator has started a later execution."""
    world.job()
    dead(world)
    limiter = world.limiter(limit) if limit else None

    world.vendor = Vendor(get=[priced(model=3)])
    late = LateClaims(world, lambda: resubmitted_after_failure(world))
    limiter = replace(limiter, store=late) if limiter else None
    with pytest.raises(JobClosed):
        world.submitter(late, limiter=limiter).submit(EXECUTION, {"job_id": JOB_ID})
    job = world.record()
    assert (job.execution, job.claim, len(world.vendor.posts)) == (arn_of(f"{JOB_ID}.r1"), None, 0)
    world.submitter().submit(arn_of(f"{JOB_ID}.r1"), {"job_id": JOB_ID})
    assert len(world.vendor.posts) == 1


def resubmitted_after_failure(world: World) -> None:
    world.notifier().failed(EXECUTION, caught(RecipeMissing("made up")))
    operator_of(world).resubmit(JOB_ID)
