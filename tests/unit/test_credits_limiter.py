"""Test the daily limit: a job counts once, on the day it is sent, and is not sent beyond the limit."""

from __future__ import annotations

import itertools
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ClientError

from shared.credits.counter import price_kind
from shared.faults import Branch, Fault, Paid
from shared.genviral.errors import (
    AuthenticationFailed,
    GenviralUnavailable,
    GenviralUnreachable,
    RateLimited,
    SubmissionUncertain,
    SubmissionUnconfirmed,
)
from shared.jobs.errors import DailyLimitReached, PriceUnknown, SubmissionInProgress
from shared.jobs.record import LONGEST_ATTEMPT_SECONDS
from shared.jobs.states import Status
from shared.jobs.transitions import JobStore
from shared.runtime import metrics
from shared.steps import notify
from tests.support.credits import priced, spent
from tests.support.fakes import (
    BODY,
    EXECUTION,
    JOB_ID,
    TABLE,
    VIDEO_ID,
    Answer,
    Clock,
    Flaky,
    Vendor,
    World,
    accepting,
    arn_of,
    breaking,
    caught,
    failed,
    refusing,
)
from tests.support.operators import operator_of
from tests.support.submissions import MAYBE_PAID, NOT_PAID, ONCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.credits.limiter import CreditLimiter

GIVEN = {"job_id": JOB_ID}
TODAY, TOMORROW = "2026-11-22", "2026-11-23"
NOON = 1_795_348_800.0
DAY = 86_400.0
OTHER = "another-job"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(NOON)
    monkeypatch.setattr(time, "time", clock)
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return clock


def vendor(*answers: Answer, prices: Answer | None = None) -> Vendor:
    return Vendor(list(answers) or [accepting()], get=[prices or priced(model=5, dear=50)])


def submit(world: World, limiter: CreditLimiter, job_id: str = JOB_ID, **options: Any) -> dict[str, Any]:
    return world.submitter(limiter=limiter, **options).submit(arn_of(job_id), {"job_id": job_id})


@pytest.fixture
def shop(world: World) -> World:
    """Make a world with prices and a job."""
    world.vendor = vendor()
    world.job()
    return world


# ---- counting --------------------------------------------------------------------------------------------


def test_without_a_limit_nothing_more_is_asked_for(shop: World) -> None:
    client = Flaky(shop.dynamodb)
    shop.submitter(JobStore(client, TABLE)).submit(EXECUTION, GIVEN)  # type: ignore[arg-type]  # a double of the client
    assert [name for name, _ in client.calls] == ["get_item", "update_item", "update_item"]
    assert [request.method for request in shop.vendor.asked] == ["POST"]
    assert (spent(shop, TODAY), shop.record().reserved) == (0, None)


def test_a_job_is_counted_on_the_day_that_it_is_sent(shop: World) -> None:
    assert submit(shop, shop.limiter(100))["video_id"] == VIDEO_ID
    assert spent(shop, TODAY) == 5
    job = shop.record()
    assert (job.status, job.claim, job.reserved) == (Status.PROCESSING, None, None), "settled"
    assert submit(shop, shop.limiter(100))["video_id"] == VIDEO_ID
    assert spent(shop, TODAY) == 5, "a repeat is no second job"


def test_what_genviral_took_counts_in_the_place_of_what_its_list_said(shop: World) -> None:
    shop.vendor = vendor(prices=priced(model=3))
    submit(shop, shop.limiter(100))
    assert (spent(shop, TODAY), shop.record().reserved) == (5, None)


def test_a_price_that_was_paid_once_is_known(shop: World) -> None:
    shop.vendor = vendor(prices=priced(model=3))
    submit(shop, shop.limiter(100))
    shop.vendor = Vendor(get=[refusing(503)])
    shop.job(OTHER)
    estimate = shop.limiter(100).estimate(BODY["model_id"], BODY)
    submit(shop, shop.limiter(100), OTHER)
    assert (estimate.credits, spent(shop, TODAY)) == (5, 10)
    assert [request.method for request in shop.vendor.asked] == ["POST"], "the list was not asked for"


@pytest.mark.parametrize(
    ("prices", "reserved"), [(priced(other=7, dear=9, free=None), 9), (priced(model=None), 1), (priced(), 1)]
)
def test_a_model_without_a_price_counts_as_the_dearest(shop: World, prices: Answer, reserved: float) -> None:
    counts: list[float] = []

    def answer_get(request: httpx.Request) -> httpx.Response:
        counts.append(spent(shop, TODAY))
        return accepting()(request)

    shop.vendor = vendor(answer_get, prices=prices)
    submit(shop, shop.limiter(100))
    assert (counts, spent(shop, TODAY)) == ([reserved], 5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusing(503), GenviralUnavailable),
        (refusing(429), RateLimited),
        (refusing(401), AuthenticationFailed),
        (breaking(httpx.ConnectError), GenviralUnreachable),
    ],
)
def test_without_a_list_of_prices_nothing_is_sent(shop: World, answer: Answer, error: type[Fault]) -> None:
    shop.vendor = vendor(prices=answer)
    with pytest.raises(error) as raised:
        submit(shop, shop.limiter(100))
    assert raised.value.paid is Paid.NO
    assert not shop.vendor.posts
    assert (spent(shop, TODAY), shop.record().claim) == (0, None)


@pytest.mark.parametrize(("answer", "error"), NOT_PAID)
def test_a_definite_refusal_gives_the_credits_back(shop: World, answer: Answer, error: type[Fault]) -> None:
    shop.vendor = vendor(answer, accepting())
    with pytest.raises(error):
        submit(shop, shop.limiter(5))
    job = shop.record()
    assert (spent(shop, TODAY), job.status, job.claim, job.reserved) == (0, Status.QUEUED, None, None)
    submit(shop, shop.limiter(5))
    assert spent(shop, TODAY) == 5


@pytest.mark.parametrize(("answer", "error"), MAYBE_PAID)
def test_what_may_have_been_paid_stays_counted(shop: World, answer: Answer, error: type[Fault]) -> None:
    shop.vendor = vendor(answer, accepting())
    with pytest.raises(error):
        submit(shop, shop.limiter(100))
    with pytest.raises(SubmissionUncertain):
        submit(shop, shop.limiter(100))
    assert spent(shop, TODAY) == 5


def test_an_operator_who_pays_again_is_counted_again(shop: World, clock: Clock) -> None:
    shop.vendor = vendor(breaking(httpx.ReadTimeout), accepting())
    with pytest.raises(SubmissionUncertain):
        submit(shop, shop.limiter(100))
    shop.store.transition(JOB_ID, Status.UNCERTAIN)
    shop.store.transition(JOB_ID, Status.QUEUED, reopen=True, remove=("claim",), resubmissions=1)
    with pytest.raises(PriceUnknown):
        submit(shop, shop.limiter(100))
    clock.now += LONGEST_ATTEMPT_SECONDS + 1
    submit(shop, shop.limiter(100))
    assert spent(shop, TODAY) == 10


def test_a_refused_job_is_counted_on_the_day_of_its_last_try_alone(shop: World, clock: Clock) -> None:
    shop.vendor = vendor(refusing(402, "insufficient_credits"), accepting())
    with pytest.raises(Fault):
        submit(shop, shop.limiter(5))
    clock.now += DAY
    submit(shop, shop.limiter(5))
    assert (spent(shop, TODAY), spent(shop, TOMORROW)) == (0, 5)


def test_a_refusal_after_midnight_goes_back_to_the_day_before(shop: World, clock: Clock) -> None:
    def late(request: httpx.Request) -> httpx.Response:
        clock.now += DAY / 2
        return refusing(429)(request)

    shop.vendor = vendor(late)
    with pytest.raises(RateLimited):
        submit(shop, shop.limiter(5))
    assert (spent(shop, TODAY), spent(shop, TOMORROW)) == (0, 0)


def test_counts_are_exact(shop: World) -> None:
    shop.vendor = vendor(refusing(429), prices=priced(model=0.1))
    for number in range(3):
        shop.job(f"job-{number}")
        reserved, counter = shop.limiter(0.3).counter.reserve(0.1)
        shop.store.claim_counted(shop.record(f"job-{number}"), "one", reservation=reserved, counter=counter)
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(0.3))
    assert spent(shop, TODAY) == 0.3


# ---- beyond the limit ------------------------------------------------------------------------------------


def test_what_the_limit_does_not_cover_waits_for_the_next_day(shop: World, clock: Clock) -> None:
    limiter = shop.limiter(8)
    shop.job(OTHER)
    submit(shop, limiter, OTHER)
    for _ in range(3):
        with pytest.raises(DailyLimitReached) as raised:
            submit(shop, limiter)
    said = raised.value.message
    assert (raised.value.paid, raised.value.error_code) == (Paid.NO, "daily_credit_limit")
    assert "costs 5 credits" in said
    assert "5 of the stack's daily limit of 8" in said
    assert f"{TODAY} (UTC)" in said
    assert "00:00 UTC" in said
    assert (spent(shop, TODAY), shop.record().claim, len(shop.vendor.posts)) == (5, None, 1)
    clock.now = NOON + DAY / 2
    submit(shop, limiter)
    assert (spent(shop, TODAY), spent(shop, TOMORROW)) == (5, 5)


def test_a_raised_limit_lets_the_job_go_on(shop: World) -> None:
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(4))
    assert submit(shop, shop.limiter(5))["video_id"] == VIDEO_ID


def test_a_job_beyond_every_day_says_so(shop: World) -> None:
    with pytest.raises(DailyLimitReached) as raised:
        submit(shop, shop.limiter(4.5))
    assert "costs 5 credits, more than the stack's whole daily limit of 4.5" in raised.value.message
    assert "cannot go on" in raised.value.message
    assert "DailyCreditLimit" in raised.value.advice


def test_a_paid_job_is_never_held_by_the_limit(shop: World) -> None:
    submit(shop, shop.limiter(5))
    shop.job(OTHER)
    assert submit(shop, shop.limiter(1))["video_id"] == VIDEO_ID
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(5), OTHER)


def hold(world: World, fault: Fault) -> dict[str, Any]:
    return world.notifier().on_hold(EXECUTION, caught(fault))


def reached(world: World) -> DailyLimitReached:
    with pytest.raises(DailyLimitReached) as raised:
        submit(world, world.limiter(1))
    return raised.value


def test_a_hold_is_notified_once_in_its_own_words(shop: World) -> None:
    for _ in range(3):
        assert hold(shop, reached(shop))["wait_seconds"] == 900
    (message,) = shop.messages()
    assert message.body["summary"] == "The job waits: the daily credit limit does not cover it."
    assert (message.body["error"]["code"], message.body["paid"]) == ("daily_credit_limit", "no")
    assert "more than the stack's whole daily limit of 1" in message.email
    assert "Genviral account" not in message.email


def test_a_backlog_of_days_is_tried_rarely_and_for_two_weeks(shop: World, clock: Clock) -> None:
    fault = reached(shop)
    first = hold(shop, fault)
    tries, waits = 0, [first["wait_seconds"]]
    while not (state := hold(shop, fault))["expired"]:
        clock.now += state["wait_seconds"]
        waits.append(state["wait_seconds"])
        tries += 1
    assert clock.now - NOON >= notify.LIMIT_HOLD_SECONDS
    assert (waits[0], waits[-1]) == (900, 3600)
    assert waits == sorted(waits)
    assert tries < 400, "each takes 16 of the 25,000 events that an execution has room for"
    assert shop.notifier().failed(EXECUTION, caught(fault))["status"] == "failed"
    assert [message.body["status"] for message in shop.messages()] == ["on_hold", "failed"]


def test_a_young_hold_is_tried_often_even_where_every_second_counts(shop: World, clock: Clock) -> None:
    fault, tries = reached(shop), 0
    notifier = shop.notifier(hold_seconds=1)
    while not (state := notifier.on_hold(EXECUTION, caught(fault)))["expired"]:
        clock.now += state["wait_seconds"]
        tries += 1
    assert tries < 500


def price_unknown(world: World) -> PriceUnknown:
    """Submit while another job's probe holds the lock, and return the error."""
    counter: Any = {
        "TableName": TABLE,
        "Key": {"job_id": {"S": time.strftime("#credits %Y-%m-%d", time.gmtime(time.time()))}},
    }
    lock = {":probe": {"SS": ["another"]}, ":until": {"N": str(time.time() + 1)}}
    world.dynamodb.update_item(
        **counter, UpdateExpression="SET probe = :probe, probe_until = :until", ExpressionAttributeValues=lock
    )
    with pytest.raises(PriceUnknown) as raised:
        submit(world, world.limiter(1000))
    world.dynamodb.update_item(**counter, UpdateExpression="REMOVE probe")
    return raised.value


def refused_with(status: int, code: str) -> Callable[[World], Fault]:
    def refused(world: World) -> Fault:
        world.vendor = vendor(refusing(status, code))
        with pytest.raises(Fault) as raised:
            submit(world, world.limiter(1000))
        return raised.value

    return refused


TROUBLE: dict[str, Callable[[World], Fault]] = {
    "insufficient_credits": refused_with(402, "insufficient_credits"),
    "rate_limited": refused_with(429, "rate_limited"),
    "daily_credit_limit": reached,
    "price_unknown": price_unknown,
}
# The errors that a job meets in turn, repeated until it ends, and the notifications.
IN_TURN: list[tuple[tuple[str, ...], list[str]]] = [
    (("price_unknown", "rate_limited"), ["price_unknown"]),
    (("daily_credit_limit", "rate_limited"), ["daily_credit_limit"]),
    (("price_unknown", "daily_credit_limit"), ["price_unknown"]),
    (("insufficient_credits", "rate_limited"), ["insufficient_credits"]),
    (("insufficient_credits", "price_unknown"), ["insufficient_credits"]),
    (("insufficient_credits", "price_unknown", "rate_limited"), ["insufficient_credits"]),
    (("price_unknown", "insufficient_credits"), ["price_unknown", "insufficient_credits"]),
    (("daily_credit_limit", "insufficient_credits"), ["daily_credit_limit", "insufficient_credits"]),
    (("insufficient_credits", "daily_credit_limit"), ["insufficient_credits", "daily_credit_limit"]),
    (("insufficient_credits", "daily_credit_limit", "price_unknown"), ["insufficient_credits", "daily_credit_limit"]),
]


@pytest.mark.parametrize(("in_turn", "notified"), IN_TURN, ids=["-".join(kinds) for kinds, _ in IN_TURN])
def test_no_trouble_ends_the_hold_of_another_kind(
    shop: World, clock: Clock, monkeypatch: pytest.MonkeyPatch, in_turn: tuple[str, ...], notified: list[str]
) -> None:
    """Each kind is then notified once, and the job ends, whatever errors occur in between."""
    # Nothing flushes them here, and they hold at most a hundred.
    monkeypatch.setattr(metrics, "add_metric", lambda **_: None)
    longest = 3 * DAY if "insufficient_credits" in in_turn else 14 * DAY
    for kind in itertools.cycle(in_turn):
        fault = TROUBLE[kind](shop)
        state = hold(shop, fault) if fault.branch is Branch.HOLD else {"expired": False, "wait_seconds": 5}
        if state["expired"]:
            break
        clock.now += state["wait_seconds"] + 7200  # a busy vendor, so that the test has fewer rounds
        assert clock.now < NOON + longest + DAY / 2, "it never ends"
    codes = [message.body["error"]["code"] for message in shop.messages()]
    assert codes == notified
    assert clock.now >= NOON + longest


@pytest.mark.parametrize("before", ["the claim", "the paid call"])
def test_the_accounts_trouble_after_a_long_wait_is_a_hold_of_its_own(shop: World, clock: Clock, before: str) -> None:
    hold(shop, reached(shop))
    clock.now += 5 * DAY
    empty = refusing(402, "insufficient_credits")
    shop.vendor = vendor(empty) if before == "the paid call" else vendor(prices=refusing(401))
    with pytest.raises(Fault) as raised:
        submit(shop, shop.limiter(100))
    assert not hold(shop, raised.value)["expired"]
    assert [message.body["status"] for message in shop.messages()] == ["on_hold", "on_hold"]
    assert shop.record().held_since == int(clock.now)
    clock.now += 4 * DAY
    assert hold(shop, raised.value)["expired"]


def test_the_limit_after_the_accounts_trouble_is_a_hold_of_its_own(shop: World, clock: Clock) -> None:
    shop.vendor = vendor(refusing(402, "insufficient_credits"))
    with pytest.raises(Fault) as raised:
        submit(shop, shop.limiter(100))
    hold(shop, raised.value)
    clock.now += DAY
    fault = reached(shop)
    for _ in range(2):
        assert not hold(shop, fault)["expired"]
    assert [message.body["error"]["code"] for message in shop.messages()] == [
        "insufficient_credits",
        "daily_credit_limit",
    ]
    assert shop.record().limit_held_since == int(clock.now)


def test_an_account_error_long_after_an_earlier_one_is_a_new_hold(shop: World, clock: Clock) -> None:
    empty = TROUBLE["insufficient_credits"]
    hold(shop, empty(shop))
    for _ in range(5):
        clock.now += DAY
        hold(shop, reached(shop))
    for days, expired in ((0, False), (2.9, False), (0.2, True)):
        clock.now += days * DAY
        assert hold(shop, empty(shop))["expired"] is expired
    assert [message.body["error"]["code"] for message in shop.messages()] == [
        "insufficient_credits",
        "daily_credit_limit",
        "insufficient_credits",
    ]


def test_a_job_that_waits_for_its_turn_still_says_what_the_account_lacks(shop: World) -> None:
    hold(shop, TROUBLE["insufficient_credits"](shop))
    before = shop.record()
    hold(shop, price_unknown(shop))
    now = shop.record()
    assert ((now.error or {})["code"], now.held_until) == ("insufficient_credits", before.held_until)


@pytest.mark.parametrize("kind", ["insufficient_credits", "daily_credit_limit"])
def test_a_hold_that_an_older_version_began_goes_on_as_what_it_is(shop: World, clock: Clock, kind: str) -> None:
    """That version kept both kinds in `held_since`, and this job waits for the daily limit."""
    since = int(clock.now - 13 * DAY)
    shop.store.transition(JOB_ID, Status.ON_HOLD, held_since=since, error=DailyLimitReached("no").document())
    assert not hold(shop, TROUBLE[kind](shop))["expired"]
    assert (shop.record().held_since, shop.record().limit_held_since) == (
        int(clock.now) if kind == "insufficient_credits" else None,
        since,
    )


# ---- races -----------------------------------------------------------------------------------------------


class Between:
    """A client that runs an action right before its first transaction."""

    def __init__(self, real: Any, act: Callable[[], Any]) -> None:
        self._real = real
        self._act: Callable[[], Any] | None = act

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def transact_write_items(self, **arguments: Any) -> Any:
        if act := self._act:
            self._act = None
            act()
        return self._real.transact_write_items(**arguments)


class Colliding:
    """A client whose first transactions conflict with another one, as DynamoDB reports it."""

    def __init__(self, real: Any, times: int) -> None:
        self._real = real
        self.left = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def transact_write_items(self, **arguments: Any) -> Any:
        if not self.left:
            return self._real.transact_write_items(**arguments)
        self.left -= 1
        answer: Any = {
            "Error": {"Code": "TransactionCanceledException", "Message": "made up"},
            "CancellationReasons": [{"Code": "None"}, {"Code": "TransactionConflict", "Message": "made up"}],
        }
        raise self._real.exceptions.TransactionCanceledException(answer, "TransactWriteItems")


def test_two_jobs_cannot_have_the_last_credits(shop: World) -> None:
    shop.job(OTHER)
    first = Between(shop.dynamodb, lambda: submit(shop, shop.limiter(5), OTHER))
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(5, first))
    assert (spent(shop, TODAY), shop.vendor.accepted) == (5, 1)


def test_two_executions_of_one_job_are_counted_once(shop: World) -> None:
    def other() -> None:
        shop.submitter(limiter=shop.limiter(100)).submit(arn_of(f"{JOB_ID}.r1"), GIVEN)

    state = submit(shop, shop.limiter(100, Between(shop.dynamodb, other)))
    assert (state["video_id"], spent(shop, TODAY), len(shop.vendor.posts)) == (VIDEO_ID, 5, 1)


def test_a_claim_that_another_one_took_first_is_left_alone(shop: World) -> None:
    rival = Between(shop.dynamodb, lambda: shop.store.claim(JOB_ID, "another"))
    with pytest.raises(SubmissionInProgress):
        submit(shop, shop.limiter(100, rival))
    assert (spent(shop, TODAY), shop.vendor.posts, shop.record().claim) == (0, [], "another")


def test_a_job_that_was_resubmitted_under_way_is_sent_under_its_new_key(shop: World) -> None:
    def resubmit() -> None:
        shop.store.transition(JOB_ID, Status.FAILED)
        shop.store.transition(JOB_ID, Status.QUEUED, reopen=True, resubmissions=1)

    submit(shop, shop.limiter(100, Between(shop.dynamodb, resubmit)))
    assert [post.headers["Idempotency-Key"] for post in shop.vendor.posts] == [f"{JOB_ID}.1"]
    assert spent(shop, TODAY) == 5


def test_a_canceled_job_is_not_counted(shop: World) -> None:
    cancel = Between(shop.dynamodb, lambda: shop.store.transition(JOB_ID, Status.CANCELED))
    with pytest.raises(Fault):
        submit(shop, shop.limiter(100, cancel))
    assert (spent(shop, TODAY), shop.vendor.posts) == (0, [])


def test_a_job_canceled_under_way_is_still_settled(shop: World) -> None:
    def canceled(request: httpx.Request) -> httpx.Response:
        shop.store.transition(JOB_ID, Status.CANCELED)
        return accepting()(request)

    shop.vendor = vendor(canceled, prices=priced(model=3))
    submit(shop, shop.limiter(100))
    assert (spent(shop, TODAY), shop.record().status) == (5, Status.CANCELED)


def test_an_unwritable_record_does_not_make_the_state_wait_for_credits(shop: World) -> None:
    client = Flaky(shop.dynamodb, dict.fromkeys(range(1, 200), "before"), only="update_item")
    state = submit(shop, shop.limiter(100, client), store=JobStore(client, TABLE))  # type: ignore[arg-type]  # a double of the client
    assert state["video_id"] == VIDEO_ID
    assert all(":video_id" in arguments["ExpressionAttributeValues"] for _, arguments in client.calls)


def test_collisions_on_the_counter_pass(shop: World) -> None:
    client = Colliding(shop.dynamodb, 7)

    def limited(request: httpx.Request) -> httpx.Response:
        client.left = 7
        return refusing(429)(request)

    shop.vendor = vendor(limited, accepting())
    with pytest.raises(RateLimited):
        submit(shop, shop.limiter(5, client))
    assert (client.left, spent(shop, TODAY), shop.record().claim) == (0, 0, None)
    submit(shop, shop.limiter(5, client))
    assert spent(shop, TODAY) == 5


def test_too_many_collisions_leave_the_job_as_it_was(shop: World) -> None:
    with pytest.raises(ClientError):
        submit(shop, shop.limiter(100, Colliding(shop.dynamodb, 100)))
    assert (spent(shop, TODAY), shop.vendor.posts, shop.record().status) == (0, [], Status.QUEUED)
    submit(shop, shop.limiter(100))


def test_credits_that_cannot_be_given_back_do_not_keep_the_claim(shop: World, clock: Clock) -> None:
    client = Colliding(shop.dynamodb, 0)

    def limited(request: httpx.Request) -> httpx.Response:
        client.left = 100
        return refusing(429)(request)

    shop.vendor = vendor(limited, accepting())
    with pytest.raises(RateLimited):
        submit(shop, shop.limiter(100, client))
    assert (shop.record().claim, spent(shop, TODAY)) == (None, 5)
    clock.now += LONGEST_ATTEMPT_SECONDS + 1  # the lock stayed as well
    submit(shop, shop.limiter(100))
    assert spent(shop, TODAY) == 10, "rather one too many"


# ---- DynamoDB fails at each call -------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [*ONCE, {7: "before"}, {7: "after"}, {8: "before"}, {8: "after"}], ids=str)
@pytest.mark.parametrize("answers", [[accepting()], [refusing(429), accepting()]], ids=["accepted", "limited first"])
@pytest.mark.parametrize("price", [5, 3], ids=["as listed", "dearer"])
def test_no_failure_of_the_table_pays_twice_or_beyond_the_limit(
    shop: World, plan: dict[int, str], answers: list[Answer], price: float
) -> None:
    """With credits for one video, no failure allows a second one, and every charge is counted."""
    shop.vendor = vendor(*answers, prices=priced(model=price))
    client = Flaky(shop.dynamodb, plan)
    error: Exception | None = None
    for _ in range(6):
        try:
            limiter = shop.limiter(5, client)
            shop.submitter(limiter.store, limiter=limiter).submit(EXECUTION, GIVEN)
        except (ClientError, RateLimited) as passing:
            error = passing
        except Fault as fault:
            error = fault
            break
        else:
            error = None
            break
    assert shop.vendor.accepted <= 1
    assert isinstance(error, None.__class__ | SubmissionUncertain | DailyLimitReached)
    assert spent(shop, TODAY) <= 5
    if shop.vendor.accepted or isinstance(error, SubmissionUncertain):
        assert spent(shop, TODAY) >= price
    shop.job(OTHER)
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(2), OTHER)


def test_a_transaction_that_is_sent_twice_counts_once(shop: World) -> None:
    """botocore repeats unanswered calls, and a table may not recognise the repeat."""

    class Twice:
        def __getattr__(self, name: str) -> Any:
            return getattr(shop.dynamodb, name)

        def transact_write_items(self, **arguments: Any) -> Any:
            shop.dynamodb.transact_write_items(**arguments)
            return shop.dynamodb.transact_write_items(**arguments)

    shop.vendor = vendor(refusing(429), accepting(), prices=priced(model=3))
    with pytest.raises(RateLimited):
        submit(shop, shop.limiter(100, Twice()))
    assert (spent(shop, TODAY), shop.record().claim) == (0, None)
    submit(shop, shop.limiter(100, Twice()))
    assert (spent(shop, TODAY), len(shop.vendor.posts)) == (5, 2)


# ---- a trusted key ---------------------------------------------------------------------------------------


def test_a_call_that_is_repeated_under_a_trusted_key_is_counted_once(shop: World) -> None:
    shop.vendor = vendor(breaking(httpx.ReadTimeout), accepting(), prices=priced(model=3))
    with pytest.raises(SubmissionUnconfirmed):
        submit(shop, shop.limiter(5), trust=True)
    assert spent(shop, TODAY) == 3
    submit(shop, shop.limiter(5), trust=True)
    assert spent(shop, TODAY) == 5


def test_a_refusal_under_a_trusted_key_keeps_the_first_calls_cost(shop: World) -> None:
    shop.vendor = vendor(breaking(httpx.ReadTimeout), refusing(402, "insufficient_credits"))
    for _ in range(2):
        with pytest.raises(Fault):
            submit(shop, shop.limiter(5), trust=True)
    assert spent(shop, TODAY) == 5


def test_a_claim_that_is_given_back_under_way_is_not_taken_over_uncounted(shop: World) -> None:
    limiter = shop.limiter(100)
    reserved, counter = limiter.counter.reserve(5)
    first = shop.store.claim_counted(shop.record(), "first", reservation=reserved, counter=counter)
    shop.age_claim()

    class Released(JobStore):
        def claim(self, *given: Any, **options: Any) -> Any:
            if shop.record().claim == "first":
                limiter.release(first, "first", {"code": "rate_limited"})
            return super().claim(*given, **options)

    submitter = shop.submitter(Released(shop.dynamodb, TABLE), limiter=limiter, trust=True)
    submitter.submit(EXECUTION, GIVEN)
    assert (spent(shop, TODAY), shop.record().reserved) == (5, None)


# ---- jobs whose price is not known -----------------------------------------------------------------------


def charging(cost: float | None, act: Callable[[], object] = lambda: None) -> Answer:
    """Accept a job for so many credits, after an action."""

    def answer(request: httpx.Request) -> httpx.Response:
        act()
        data = {"video_id": f"video-{request.headers['Idempotency-Key']}", "status": "processing"}
        data |= {} if cost is None else {"credits_used": cost}  # type: ignore[dict-item]  # a bad cost on purpose
        return httpx.Response(202, json={"ok": True, "code": 202, "data": data})

    return answer


def pay(world: World, name: str, cost: float | None, request: dict[str, Any] = BODY, limit: float = 1000) -> None:
    world.vendor.script["POST"] = [charging(cost)]
    world.job(name, request)
    submit(world, world.limiter(limit), name)


LONGER = {**BODY, "params": {"duration_seconds": 60}}
OTHER_MODEL = {**BODY, "model_id": "dear"}
UNHEARD_OF = {**BODY, "model_id": "unheard/of"}


@pytest.mark.parametrize(
    ("paid", "request_", "limit", "reserved"),
    [
        pytest.param([], BODY, 1000, 5, id="nothing paid yet: the list's price"),
        pytest.param([(BODY, 3)], BODY, 1000, 3, id="its own price, also where the list's is higher"),
        pytest.param([(BODY, 9), (BODY, 3)], BODY, 1000, 9, id="the highest that it ever had"),
        pytest.param([(BODY, 250)], LONGER, 1000, 250, id="unknown: the highest of its model here"),
        pytest.param([(BODY, 3)], LONGER, 1000, 5, id="unknown: the highest of its model in the list"),
        pytest.param([(BODY, 250)], OTHER_MODEL, 1000, 50, id="not that of another model"),
        pytest.param([], UNHEARD_OF, 1000, 50, id="unknown model: the highest of the list"),
        pytest.param([(BODY, 250)], UNHEARD_OF, 1000, 250, id="unknown model: the highest of all here"),
        pytest.param([(BODY, 250)], LONGER, 100, 100, id="a guess beyond a whole day: the whole day"),
        pytest.param([(BODY, 250), (BODY, 9)], BODY, 100, 100, id="changing prices: the whole day"),
        pytest.param([(BODY, 250)], BODY, 100, 250, id="its last price is beyond a whole day"),
        pytest.param([(BODY, 250)], OTHER_MODEL, 40, 50, id="so is the list's"),
    ],
)
def test_what_is_reserved_for_a_job(
    shop: World, paid: list[tuple[dict[str, Any], float]], request_: dict[str, Any], limit: float, reserved: float
) -> None:
    for number, (request, cost) in enumerate(paid):
        pay(shop, f"paid-{number}", cost, request)
    assert shop.limiter(limit).estimate(request_["model_id"], request_).credits == reserved


@pytest.mark.parametrize(
    ("costs", "is_known"),
    [
        ([], False),
        ([5, 5], False),
        ([5, 5, 5], True),
        ([9, 5, 5, 5], True),
        ([5, 5, 5, 6], False),
        ([5, 6, 5, 6, 5, 6], False),
        ([None, None, None, None], False),
    ],
)
def test_a_price_is_known_once_it_has_been_the_same_three_times(
    shop: World, costs: list[float | None], is_known: bool
) -> None:
    for number, cost in enumerate(costs):
        pay(shop, f"paid-{number}", cost)
    assert shop.limiter(1000).estimate(BODY["model_id"], BODY).is_known is is_known


def test_a_price_that_was_not_paid_for_ninety_days_is_forgotten(shop: World, clock: Clock) -> None:
    pay(shop, "dear", 250)
    clock.now += 60 * DAY
    pay(shop, "cheap", 3)
    assert shop.limiter(1000).estimate(BODY["model_id"], BODY).credits == 250
    clock.now += 31 * DAY
    assert shop.limiter(1000).estimate(BODY["model_id"], BODY).credits == 5


def test_a_price_that_an_older_version_kept_counts_as_one_video(shop: World) -> None:
    key = {"job_id": {"S": price_kind(BODY["model_id"], BODY)}}
    expires = {"N": str(int(NOON + DAY))}
    shop.dynamodb.put_item(TableName=TABLE, Item=key | {"credits": {"N": "7"}, "expires_at": expires})
    estimate = shop.limiter(1000).estimate(BODY["model_id"], BODY)
    assert (estimate.credits, estimate.is_known) == (7, False)
    for number in range(2):
        pay(shop, f"paid-{number}", 7)
    assert shop.limiter(1000).estimate(BODY["model_id"], BODY).is_known


@pytest.mark.parametrize(
    ("change", "is_the_same"),
    [
        ({"prompt": "Another one"}, True),
        ({"raw_params": {"cfg": 1, "seed": 7}}, True),
        ({"raw_params": {"cfg": 2}}, False),
        ({"params": {"duration_seconds": 6}}, False),
        ({"audio_url": "https://example.com/a.mp3"}, False),
        ({"reference_image_urls": ["https://example.com/another.jpg"]}, True),
        ({"reference_image_urls": ["https://example.com/1.jpg", "https://example.com/2.jpg"]}, False),
        ({"speech_text": "Two hundred and one boats, " * 9}, False),
    ],
)
def test_a_combination_is_all_that_can_change_a_price(change: dict[str, Any], is_the_same: bool) -> None:
    request = {
        "model_id": "m",
        "prompt": "A boat",
        "params": {"duration_seconds": 5},
        "raw_params": {"cfg": 1, "seed": 3},
        "reference_image_urls": ["https://example.com/1.jpg"],
    }
    assert (price_kind("m", request) == price_kind("m", {**request, **change})) is is_the_same


def test_of_jobs_of_unknown_price_one_at_a_time_is_sent(shop: World) -> None:
    shop.job(OTHER, OTHER_MODEL)

    def second() -> None:
        with pytest.raises(PriceUnknown) as waits:
            submit(shop, shop.limiter(1000), OTHER)
        assert (waits.value.paid, shop.record(OTHER).claim, shop.record(OTHER).status) == (
            Paid.NO,
            None,
            Status.QUEUED,
        )

    shop.vendor.script["POST"] = [charging(250, second), charging(50)]
    submit(shop, shop.limiter(1000))
    assert (spent(shop, TODAY), len(shop.vendor.posts)) == (250, 1)
    submit(shop, shop.limiter(1000), OTHER)
    assert spent(shop, TODAY) == 300


def test_a_job_of_known_price_does_not_wait_for_a_probe(shop: World) -> None:
    shop.know_price(5)
    shop.job(OTHER, LONGER)
    shop.vendor.script["POST"] = [charging(9, lambda: submit(shop, shop.limiter(1000))), charging(5)]
    submit(shop, shop.limiter(1000), OTHER)
    assert spent(shop, TODAY) == 14


@pytest.mark.parametrize("limit", [6, 1000])
def test_the_lock_differs_from_the_limit_and_holds_if_both_jobs_fit(shop: World, limit: int) -> None:
    """The transaction comes a moment after another one."""
    shop.job(OTHER, LONGER)

    def first() -> None:
        reserved, counter = shop.limiter(limit).counter.reserve(5, probe="first")
        shop.store.claim_counted(shop.record(OTHER), "first", reservation=reserved, counter=counter)

    with pytest.raises(PriceUnknown):
        submit(shop, shop.limiter(limit, Between(shop.dynamodb, first)))
    assert (spent(shop, TODAY), shop.vendor.posts) == (5, [])


@pytest.mark.parametrize("answer", [refusing(429), refusing(402, "insufficient_credits"), charging(5), charging(None)])
def test_a_probe_that_was_answered_gives_the_lock_back(shop: World, answer: Answer) -> None:
    shop.vendor.script["POST"] = [answer, charging(5)]
    with suppress(Fault):
        submit(shop, shop.limiter(1000))
    pay(shop, OTHER, 5)
    assert shop.record(OTHER).video_id


def test_a_probe_of_unknown_outcome_keeps_the_lock_until_its_end(shop: World, clock: Clock) -> None:
    shop.vendor.script["POST"] = [breaking(httpx.ReadTimeout)]
    with pytest.raises(SubmissionUncertain):
        submit(shop, shop.limiter(1000))
    for seconds in (0, LONGEST_ATTEMPT_SECONDS):
        clock.now = NOON + seconds
        with pytest.raises(PriceUnknown):
            submit(shop, shop.limiter(1000), shop.job(f"job-{seconds}").job_id)
    clock.now += 1
    pay(shop, OTHER, 3)
    assert spent(shop, TODAY) == 8, "what may have been paid stays counted"


def test_a_probe_that_outlives_its_lock_leaves_that_of_the_next_one_alone(shop: World, clock: Clock) -> None:
    shop.job(OTHER)
    shop.job("third")

    def late() -> None:
        clock.now += LONGEST_ATTEMPT_SECONDS + 1
        reserved, counter = shop.limiter(1000).counter.reserve(5, probe="second")
        shop.store.claim_counted(shop.record(OTHER), "second", reservation=reserved, counter=counter)

    shop.vendor.script["POST"] = [charging(250, late)]
    submit(shop, shop.limiter(1000))
    assert spent(shop, TODAY) == 255
    with pytest.raises(PriceUnknown):
        submit(shop, shop.limiter(1000), "third")


def test_a_probe_over_midnight_counts_on_its_own_day(shop: World, clock: Clock) -> None:
    shop.job(OTHER)

    def midnight() -> None:
        clock.now += DAY / 2
        submit(shop, shop.limiter(1000), OTHER)

    shop.vendor.script["POST"] = [charging(250, midnight), charging(7)]
    submit(shop, shop.limiter(1000))
    assert (spent(shop, TODAY), spent(shop, TOMORROW)) == (250, 7)
    pay(shop, "third", 7)
    assert spent(shop, TOMORROW) == 14


def test_a_probe_beyond_the_limit_is_the_last_of_its_day(shop: World) -> None:
    pay(shop, OTHER, 250, limit=100)
    assert spent(shop, TODAY) == 250
    for name, request in (("listed", OTHER_MODEL), ("guessed", LONGER)):
        shop.job(name, request)
        with pytest.raises(DailyLimitReached) as raised:
            submit(shop, shop.limiter(100), name)
    assert "costs 100 credits at most, as far as is known" in raised.value.message


def test_an_attempt_cut_off_before_it_settles_is_settled_by_the_next(shop: World) -> None:
    class Killed(BaseException):
        pass

    class Cut(JobStore):
        def settle(self, *_: Any, **__: Any) -> None:
            raise Killed

    shop.vendor.script["POST"] = [charging(250)]
    limiter = replace(shop.limiter(1000), store=Cut(shop.dynamodb, TABLE))
    with pytest.raises(Killed):
        submit(shop, limiter)
    assert spent(shop, TODAY) == 5
    for _ in range(2):
        submit(shop, shop.limiter(1000))
    assert (spent(shop, TODAY), len(shop.vendor.posts)) == (250, 1)
    pay(shop, OTHER, 250)  # the lock is free
    shop.job("third")
    assert not shop.limiter(1000).estimate(BODY["model_id"], BODY).is_known, "no video counts twice"


@pytest.mark.parametrize("way", ["before", "after"])
@pytest.mark.parametrize("faults", [*((call,) for call in range(1, 7)), range(2, 22)], ids=lambda calls: str([*calls]))
def test_dynamodb_faults_after_a_probe_leave_neither_guess_nor_lock(
    shop: World, faults: tuple[int, ...], way: str
) -> None:
    client = Flaky(shop.dynamodb)

    def answered() -> None:
        client.fails |= {len(client.calls) + call: way for call in faults}

    shop.vendor.script["POST"] = [charging(250, answered)]
    submit(shop, shop.limiter(1000, client), store=JobStore(client, TABLE))  # type: ignore[arg-type]  # a double of the client
    counter = shop.limiter(1000).counter
    assert (spent(shop, TODAY), shop.record().reserved, counter.probe_of_another("the next one")) == (250, None, False)
    assert shop.limiter(1000).estimate(BODY["model_id"], BODY).credits == 250, "the price is remembered"


def test_a_limit_holds_although_no_price_can_be_remembered(shop: World) -> None:
    """The counter must not depend on other writes after the paid call."""

    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return getattr(shop.dynamodb, name)

        def put_item(self, **arguments: Any) -> Any:
            raise failed("PutItem", "ThrottlingException")

    for number in range(3):
        shop.vendor.script["POST"] = [charging(100)]
        submit(shop, shop.limiter(300, Forgetful()), shop.job(f"job-{number}").job_id)
    with pytest.raises(DailyLimitReached):
        submit(shop, shop.limiter(300, Forgetful()))
    assert spent(shop, TODAY) == 300


def test_a_video_whose_cost_cannot_be_counted_goes_on(shop: World) -> None:
    client = Flaky(shop.dynamodb, dict.fromkeys(range(2, 500), "before"), only="transact_write_items")
    shop.vendor.script["POST"] = [charging(250)]
    assert submit(shop, shop.limiter(1000, client))["video_id"]
    assert (spent(shop, TODAY), shop.record().status) == (5, Status.PROCESSING), "the reservation stays counted"


@pytest.mark.parametrize("named", ["the same video", "another video"])
def test_a_video_attached_during_its_probe_is_counted_with_its_cost(shop: World, named: str) -> None:
    answered = f"video-{JOB_ID}"
    attached = answered if named == "the same video" else "video-of-the-vendor"

    def attach() -> None:
        shop.store.transition(JOB_ID, Status.CANCELED)
        arn = operator_of(shop).attach(JOB_ID, attached, force=True)
        for _ in range(2):
            shop.submitter(limiter=shop.limiter(1000)).submit(arn, GIVEN)
        assert shop.limiter(1000).counter.probe_of_another("the next one"), "the call is still under way"

    shop.vendor.script["POST"] = [charging(250, attach)]
    submit(shop, shop.limiter(1000))
    assert (spent(shop, TODAY), shop.record().video_id) == (250, attached)
    assert not shop.limiter(1000).counter.probe_of_another("the next one")
    if named == "another video":
        shop.store.transition(JOB_ID, Status.FAILED)
        arn = operator_of(shop).attach(JOB_ID, answered, force=True)
        shop.submitter(limiter=shop.limiter(1000)).submit(arn, GIVEN)
        assert (spent(shop, TODAY), shop.record().video_id) == (250, answered), "no video counts twice"


def test_a_known_price_needs_no_write_and_a_risen_price_is_kept(shop: World) -> None:
    shop.know_price(5)
    client = Flaky(shop.dynamodb)
    counter, kind = shop.limiter(1000, client).counter, price_kind(BODY["model_id"], BODY)
    counter.learn(BODY["model_id"], kind, 5, "another")
    assert [name for name, _ in client.calls] == ["get_item"]
    rival = Flaky(shop.dynamodb, only="put_item")
    real = shop.limiter(1000).counter

    class Raced:
        def __getattr__(self, name: str) -> Any:
            return getattr(rival, name)

        def put_item(self, **arguments: Any) -> Any:
            if not rival.calls:
                rival.calls.append(("raced", {}))
                real.learn(BODY["model_id"], kind, 250, "the rival's")
            return rival.put_item(**arguments)

    shop.limiter(1000, Raced()).counter.learn(BODY["model_id"], kind, 9, "mine")
    price = real.price(kind)
    assert price is not None
    assert (price.highest, price.last) == (250, 9)
