"""Invariants about attempts that outlive their callers, lost answers, throttles and outages.

Judges what the processes of a run did (`observed`) against the records and the vendor's books. Must not know how a
fault is brought about.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.jobs.states import TERMINAL, Status
from tests.chaos.observed import job_of_key

if TYPE_CHECKING:
    from tests.chaos.fault_injection import Picture
    from tests.chaos.verdict import Verdict

_PASSING = {
    *("GenviralUnavailable", "GenviralUnreachable", "RateLimited", "AwsCallFailed"),
    *("Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException", "Lambda.Unknown"),
    *("Lambda.AWSLambdaException", "Lambda.ClientExecutionTimeoutException", "States.Timeout", "Sandbox.Timedout"),
    "Runtime.ExitError",
}
"""Errors that go away without a person. A paid job that one of them interrupted comes home without a command."""


def check(verdict: Verdict, after_storm: Picture, at_last: Picture) -> None:
    """Check all of them."""
    _check_claims(verdict)
    _check_known_videos(verdict, at_last)
    _check_ends(verdict, after_storm)
    _check_throttles(verdict)
    _check_outage(verdict, after_storm)


def _check_claims(verdict: Verdict) -> None:
    """An attempt that may still be running is not uncertain, nor is one that sent nothing."""
    storm, observed = verdict.storm, verdict.storm.functions.observed
    names = {order.job_id: order.name for order in storm.orders}
    for job_id, why in observed.early:
        verdict.breach(names[job_id], f"uncertain while its attempt may still be running: {why}")
    verdict.state("uncertain while the attempt may still be running", len(observed.early), must_be=0)
    for job_id in observed.unsent:
        verdict.breach(names[job_id], "uncertain, and its claim never sent anything")
    verdict.state("uncertain without a POST", len(observed.unsent), must_be=0)
    for job_id in observed.late:
        verdict.breach(names[job_id], "an attempt paid after an operator had resubmitted the job")
    verdict.state("attempts that paid after a resubmission", len(observed.late), must_be=0)
    for name in sorted(observed.not_awaited):
        verdict.breach(name, "a slow answer to the paid call was not waited for")
    verdict.state("slow answers that were not waited for", len(observed.not_awaited), must_be=0)


def _check_known_videos(verdict: Verdict, at_last: Picture) -> None:
    """Every video that a process knew of, and was not killed with, is on its job's record."""
    storm = verdict.storm
    names = {order.job_id: order.name for order in storm.orders}
    unknown = 0
    for paid in storm.submissions():
        job_id, video_id = job_of_key(paid["idempotency_key"]), paid["video_id"]
        if video_id in storm.functions.observed.known and video_id not in at_last.items.get(job_id, ""):
            unknown += 1
            verdict.breach(names[job_id], f"its record does not know the accepted video {video_id}")
    verdict.state("accepted videos that their record does not know", unknown, must_be=0)


def _check_ends(verdict: Verdict, after_storm: Picture) -> None:
    """An end has one notification and is counted once.

    Metrics leave a process when it ends, and no write can be made together with them. So two departures cannot be
    avoided. A process that is killed after it has counted takes its metrics with it: the end may be counted by nobody.
    A process whose writes DynamoDB refuses or does not answer, or that was given up and runs beside its successor,
    cannot tell others that it has counted: the end may be counted once more for each such process. Nothing else is
    allowed.
    """
    storm, observed = verdict.storm, verdict.storm.functions.observed
    ids: dict[str, set[str]] = {}
    for notice in after_storm.notices:
        ids.setdefault(str(notice["job_id"]), set()).add(str(notice["notification_id"]))
    doubled = uncounted = 0
    for order in storm.orders:
        if order.resubmitted or (job := after_storm.records.get(order.name)) is None:
            continue
        ends = [status for status in TERMINAL if status.value in job.timeline]
        notified = [one for one in ids.get(order.job_id, ()) if one.partition("/")[2].partition("#")[0] in TERMINAL]
        if len(notified) > 1:
            doubled += 1
            verdict.breach(order.name, f"ended once, and {len(notified)} notifications say so: {sorted(notified)}")
        for status in ends:
            end = order.job_id, status
            times = observed.counted[end]
            if times > 1 + observed.may_count_again[end] or (times == 0 and end not in observed.died_with_count):
                uncounted += 1
                verdict.breach(order.name, f"{status}: counted {times} times")
    verdict.state("jobs with more than one terminal notification", doubled, must_be=0)
    verdict.state("ends that a metric did not count once", uncounted, must_be=0)


def _check_throttles(verdict: Verdict) -> None:
    """Five minutes of throttles fail no execution."""
    for name in sorted(set(verdict.storm.outlasted_by_throttles)):
        verdict.breach(name, "throttles of five minutes failed its execution")
    verdict.state("executions failed by throttles", len(verdict.storm.outlasted_by_throttles), must_be=0)


def _check_outage(verdict: Verdict, after_storm: Picture) -> None:
    """After the outage all paid jobs come home without a command, and who was told of it was told once."""
    storm = verdict.storm
    left = 0
    for name, job in after_storm.records.items():
        error: dict[str, Any] = job.error or {}
        if job.status is Status.INTERRUPTED and job.video_id is not None and error.get("error") in _PASSING:
            left += 1
            verdict.breach(name, f"paid for, interrupted by {error['error']}, and nothing took it up again")
    verdict.facts["jobs that looked for their video during the outage"] = len(storm.hit_by_outage)
    verdict.state("paid jobs that a passing fault left for an operator", left, must_be=0)
    interruptions = Counter(
        str(notice["job_id"]) for notice in _distinct(after_storm.notices) if notice["status"] == "interrupted"
    )
    for order in storm.orders:
        if order.into_outage and interruptions[order.job_id] > 1:
            verdict.breach(order.name, f"told {interruptions[order.job_id]} times of one outage")


def _distinct(notices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({notice["notification_id"]: notice for notice in notices}.values())
