"""Check the invariants about overlapping attempts, lost answers, throttles and outages.

Compares what the processes of a run did (`observed`) with the records and the vendor's submissions. Must not know how
a fault is injected.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from shared.jobs.states import TERMINAL, Status
from tests.chaos.observed import job_of_key

if TYPE_CHECKING:
    from tests.chaos.fault_injection import Snapshot
    from tests.chaos.report import Report

_PASSING = {
    *("GenviralUnavailable", "GenviralUnreachable", "RateLimited", "AwsCallFailed"),
    *("Lambda.ServiceException", "Lambda.SdkClientException", "Lambda.TooManyRequestsException", "Lambda.Unknown"),
    *("Lambda.AWSLambdaException", "Lambda.ClientExecutionTimeoutException", "States.Timeout", "Sandbox.Timedout"),
    "Runtime.ExitError",
}
"""Transient errors. A paid job that one of them interrupted completes without an operator."""


def check(report: Report, after_faults: Snapshot, at_last: Snapshot) -> None:
    """Check all invariants of this module."""
    _check_claims(report)
    _check_known_videos(report, at_last)
    _check_ends(report, after_faults)
    _check_throttles(report)
    _check_outage(report, after_faults)


def _check_claims(report: Report) -> None:
    """Check that no job is uncertain while its attempt may be running, or if nothing was sent."""
    run, observed = report.run, report.run.functions.observed
    names = {order.job_id: order.name for order in run.orders}
    for job_id, why in observed.early:
        report.breach(names[job_id], f"uncertain while its attempt may still be running: {why}")
    report.state("uncertain while the attempt may still be running", len(observed.early), must_be=0)
    for job_id in observed.unsent:
        report.breach(names[job_id], "uncertain, and its claim never sent anything")
    report.state("uncertain without a POST", len(observed.unsent), must_be=0)
    for job_id in observed.late:
        report.breach(names[job_id], "an attempt paid after an operator had resubmitted the job")
    report.state("attempts that paid after a resubmission", len(observed.late), must_be=0)
    for name in sorted(observed.not_awaited):
        report.breach(name, "a slow answer to the paid call was not waited for")
    report.state("slow answers that were not waited for", len(observed.not_awaited), must_be=0)


def _check_known_videos(report: Report, at_last: Snapshot) -> None:
    """Check that each video known to a process that was not killed is in its job's record."""
    run = report.run
    names = {order.job_id: order.name for order in run.orders}
    unknown = 0
    for paid in run.submissions():
        job_id, video_id = job_of_key(paid["idempotency_key"]), paid["video_id"]
        if video_id in run.functions.observed.known and video_id not in at_last.items.get(job_id, ""):
            unknown += 1
            report.breach(names[job_id], f"its record does not know the accepted video {video_id}")
    report.state("accepted videos that their record does not know", unknown, must_be=0)


def _check_ends(report: Report, after_faults: Snapshot) -> None:
    """Check that an end has one notification and is counted once.

    A process sends its metrics when it ends, and no write is atomic with them. So two deviations are unavoidable. If a
    process is killed after counting, its metrics are lost, and the end may not be counted. If DynamoDB rejects or does
    not answer a process's writes, or an abandoned process overlaps its successor, the record does not show that it
    counted, and the end may be counted once more for each such process. Nothing else is allowed.
    """
    run, observed = report.run, report.run.functions.observed
    notification_ids: dict[str, set[str]] = {}
    for notification in after_faults.notifications:
        notification_ids.setdefault(str(notification["job_id"]), set()).add(str(notification["notification_id"]))
    doubled = uncounted = 0
    for order in run.orders:
        if order.resubmitted or (job := after_faults.records.get(order.name)) is None:
            continue
        ends = [status for status in TERMINAL if status.value in job.timeline]
        notified = [
            one for one in notification_ids.get(order.job_id, ()) if one.partition("/")[2].partition("#")[0] in TERMINAL
        ]
        if len(notified) > 1:
            doubled += 1
            report.breach(order.name, f"ended once, and {len(notified)} notifications say so: {sorted(notified)}")
        for status in ends:
            end = order.job_id, status
            times = observed.counted[end]
            if times > 1 + observed.may_count_again[end] or (times == 0 and end not in observed.died_with_count):
                uncounted += 1
                report.breach(order.name, f"{status}: counted {times} times")
    report.state("jobs with more than one terminal notification", doubled, must_be=0)
    report.state("ends that a metric did not count once", uncounted, must_be=0)


def _check_throttles(report: Report) -> None:
    """Check that five minutes of throttles fail no execution."""
    for name in sorted(set(report.run.outlasted_by_throttles)):
        report.breach(name, "throttles of five minutes failed its execution")
    report.state("executions failed by throttles", len(report.run.outlasted_by_throttles), must_be=0)


def _check_outage(report: Report, after_faults: Snapshot) -> None:
    """Check that paid jobs complete after an outage without an operator, and that it was notified at most once."""
    run = report.run
    left = 0
    for name, job in after_faults.records.items():
        error: dict[str, Any] = job.error or {}
        if job.status is Status.INTERRUPTED and job.video_id is not None and error.get("error") in _PASSING:
            left += 1
            report.breach(name, f"paid for, interrupted by {error['error']}, and nothing resumed it")
    report.facts["jobs that polled during the outage"] = len(run.hit_by_outage)
    report.state("paid jobs that a passing fault left for an operator", left, must_be=0)
    interruptions = Counter(
        str(notification["job_id"])
        for notification in _distinct(after_faults.notifications)
        if notification["status"] == "interrupted"
    )
    for order in run.orders:
        if order.into_outage and interruptions[order.job_id] > 1:
            report.breach(order.name, f"{interruptions[order.job_id]} notifications of one outage")


def _distinct(notifications: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({one["notification_id"]: one for one in notifications}.values())
