"""Check the outcome of a run, and print a table of it.

Knows only what can be seen from outside: the vendor's submissions, the bucket, a subscriber's queue, the records. Must
not know how a fault is injected.
"""

from __future__ import annotations

import io
import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import av

from shared.faults import Branch, Fault
from shared.jobs.errors import DailyLimitReached
from shared.jobs.states import TERMINAL, Status
from tests.chaos import invariants
from tests.chaos.observed import job_of_key

if TYPE_CHECKING:
    from shared.jobs.record import Job
    from tests.chaos.fault_injection import FaultInjection, Snapshot


def kinds_of(fault: type[Fault]) -> list[type[Fault]]:
    """Return every named error below this one, without those that only group others."""
    below = fault.__subclasses__()
    return [fault] * hasattr(fault, "code") + [kind for direct in below for kind in kinds_of(direct)]


_ENDS = {fault.__name__ for fault in kinds_of(Fault) if fault.branch in (Branch.REJECT, Branch.FAIL, Branch.HOLD)}
"""Errors that may end a job for good. All others are retried, and then left for a redrive."""
_RESUMABLE = {Status.INTERRUPTED, Status.UNCERTAIN, Status.FAILED, Status.TIMED_OUT}


@dataclass
class Report:
    """The table of a run, and every breach of an invariant.

    Attributes:
        breaches: Job (or `-`) and what is wrong.
    """

    run: FaultInjection
    facts: dict[str, object] = field(default_factory=dict)
    breaches: list[tuple[str, str]] = field(default_factory=list)

    def table(self) -> str:
        rows = {**self.facts, "wall time": f"{time.monotonic() - self.run.began:.1f} s"}
        rows |= {f"  {row}": count for row, count in self.faults().items()}
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())

    def faults(self) -> dict[str, int]:
        """Return the faults that happened: kind → how often."""
        fired = self.run.functions.fired + self.run.happened
        return {row: fired[row] for row in sorted(fired)}

    def failures(self) -> str:
        """List every breach, and for the first jobs concerned their history and how to replay them."""
        jobs = list(dict.fromkeys(job for job, _ in self.breaches if job != "-"))
        lines = [f"{len(self.breaches)} breaches, seed {self.run.seed}:"]
        lines += [f"  {job}: {what}" for job, what in self.breaches[:50]]
        for order in [order for order in self.run.orders if order.name in jobs[:3]]:
            lines += [
                "",
                f"{order.name} ({order.kind}, {order.recipe}, {order.job_id}) {order.schedule}",
                *order.history,
            ]
            lines += [
                f"replay: CHAOS_SEED={self.run.seed} CHAOS_JOBS={self.run.size} CHAOS_ONLY={order.name} make chaos"
            ]
        return "\n".join(lines)

    def breach(self, job: str, what: str) -> None:
        self.breaches.append((job, what))

    def state(self, name: str, value: object, *, must_be: object) -> None:
        """Add a row whose value is given, and a breach if it differs."""
        self.facts[name] = value
        if value != must_be:
            self.breach("-", f"{name}: {value}")


def report_on(run: FaultInjection, after_faults: Snapshot, at_last: Snapshot) -> Report:
    """Check all invariants of a run."""
    report = Report(run)
    report.facts["seed"], report.facts["jobs"] = run.seed, len(run.orders)
    report.facts["faults that happened"] = sum(report.faults().values())
    report.facts["virtual time"] = f"{run.clock.elapsed / 3600:.1f} h"
    report.facts["sweeps"] = ", ".join(f"{count} {how}" for how, count in sorted(run.sweeps.items()))
    _check_payments(report, after_faults, at_last)
    _check_states(report, after_faults, at_last)
    _check_notifications(report, "after the faults", after_faults.records, after_faults.notifications)
    _check_notifications(report, "at last", at_last.records, after_faults.notifications + at_last.notifications)
    _check_videos(report, after_faults, at_last)
    _check_bucket(report, after_faults, at_last)
    invariants.check(report, after_faults, at_last)
    if run.limit:
        _check_limit(report, after_faults)
    return report


def _check_limit(report: Report, after_faults: Snapshot) -> None:
    """Check that the vendor charged no more than the limit on any day, and that the counter covers it."""
    run = report.run
    paid: Counter[str] = Counter()
    for submission in run.submissions():
        paid[run.functions.sent_on[submission["idempotency_key"]]] += submission["cost"]
    report.facts["credits paid on each day"] = dict(paid)
    for day, credits_paid in paid.items():
        counted = run.account.counted(day)
        if not credits_paid <= counted <= run.limit:
            report.breach("-", f"{credits_paid} credits were paid and {counted:g} counted on {day}, of {run.limit}")
    waited = {one["job_id"] for one in after_faults.notifications if _code(one) == DailyLimitReached.code}
    report.facts["jobs that waited for the next day"] = len(waited)


def _code(notification: dict[str, Any]) -> str | None:
    return (notification.get("error") or {}).get("code")


def _check_payments(report: Report, after_faults: Snapshot, at_last: Snapshot) -> None:
    run = report.run
    names = {order.job_id: order.name for order in run.orders}
    by_operator = {order.name for order in run.orders if order.resubmitted}
    paid = Counter(submission["idempotency_key"] for submission in run.submissions())
    for key in (key for key, times in paid.items() if times > 1):
        report.breach(names[job_of_key(key)], f"paid {paid[key]} times")
    jobs = Counter(names[job_of_key(key)] for key in paid.elements())
    report.facts["jobs paid for"] = len(jobs)
    alone = [times for name, times in jobs.items() if name not in by_operator]
    report.state("most paid POSTs of one job without an operator", max(alone, default=0), must_be=1 if alone else 0)
    report.facts["jobs paid again by an operator's choice"] = sum(jobs[name] > 1 for name in by_operator)
    functions = run.functions
    report.facts["jobs with a POST of unknown outcome"] = len(functions.unknown)
    for key in sorted(functions.resent):
        report.breach(names[job_of_key(key)], "sent again after an unknown outcome")
    report.state("of these, sent again", len(functions.resent), must_be=0)
    uncertain = 0
    unknown = sorted({names[job_of_key(key)] for key in functions.unknown} - by_operator)
    for name in unknown:
        before, after = after_faults.records[name], at_last.records[name]
        waits = before.status is Status.INTERRUPTED and before.claim is not None
        uncertain += before.status is Status.UNCERTAIN
        if before.status is not Status.UNCERTAIN and not waits:
            report.breach(name, f"of unknown outcome, and {before.status}")
        if after.status is not (Status.SUCCEEDED if _has_video(run, after) else Status.UNCERTAIN):
            report.breach(name, f"of unknown outcome, and {after.status} in the end")
    report.facts["of these, uncertain / interrupted with their claim"] = f"{uncertain} / {len(unknown) - uncertain}"


def _has_video(run: FaultInjection, job: Job) -> bool:
    return job.video_id is not None and run.video_file(job.video_id) is not None


def _check_states(report: Report, after_faults: Snapshot, at_last: Snapshot) -> None:
    run = report.run
    for name in sorted(order.name for order in run.orders if order.accepted and order.name not in after_faults.records):
        report.breach(name, "accepted, and there is no record of it")
    for moment, snapshot, allowed in (
        ("after the faults", after_faults, {*TERMINAL, Status.ON_HOLD, Status.INTERRUPTED}),
        ("at last", at_last, TERMINAL),
    ):
        count = Counter(job.status.value for job in snapshot.records.values())
        report.facts[f"states {moment}"] = ", ".join(f"{count[status]} {status}" for status in sorted(count))
        for name, job in snapshot.records.items():
            if job.status not in allowed:
                report.breach(name, f"left {job.status} {moment}")
            elif job.status is not Status.SUCCEEDED and not (job.error and job.error.get("message")):
                report.breach(name, f"{job.status} {moment}, and its record names no reason")
            elif job.status is Status.FAILED and job.error and job.error.get("error") not in _ENDS:
                report.breach(name, f"given up {moment} for {job.error.get('error')}, which a redrive fixes")
        report.state(f"executions still running {moment}", len(snapshot.running), must_be=0)
    for name in sorted(set(run.stranded)):
        report.breach(name, "queued without an execution after a sweep")
    report.state("queued jobs that a sweep left without an execution", len(set(run.stranded)), must_be=0)


def _check_notifications(
    report: Report, moment: str, records: dict[str, Job], notifications: list[dict[str, object]]
) -> None:
    received: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for one in notifications:
        received[str(one["job_id"])][str(one["notification_id"])] += 1
    may_repeat = report.run.functions.may_repeat
    terminal = repeated = 0
    for name, job in records.items():
        copies = received[job.job_id]
        ends = {status for status in TERMINAL if status.value in job.timeline}
        ids = {notification.partition("#")[0] for notification in copies}
        notified = {status for status in TERMINAL if f"{job.job_id}/{status}" in ids}
        terminal += len(notified)
        for status in sorted(ends - notified):
            report.breach(name, f"became {status}, and no notification was sent ({moment})")
        for status in sorted(notified - ends):
            report.breach(name, f"was notified as {status} and never had that status ({moment})")
        if job.status is Status.INTERRUPTED and not any("/interrupted#" in notification for notification in copies):
            report.breach(name, f"interrupted, and no notification was sent ({moment})")
        for notification, times in copies.items():
            repeated += times - 1
            if times - 1 > may_repeat[notification]:
                report.breach(name, f"{notification} came {times} times ({moment})")
    report.facts[f"terminal notifications {moment}"] = terminal
    report.facts[f"copies of a notification {moment}, all by a kill or a lost answer after it was sent"] = repeated


def _check_videos(report: Report, after_faults: Snapshot, at_last: Snapshot) -> None:
    run = report.run
    names = {order.job_id: order.name for order in run.orders}
    # More than one only where an operator chose to pay again.
    videos: defaultdict[str, list[bytes]] = defaultdict(list)
    for paid in run.submissions():
        if video := run.video_file(paid["video_id"]):
            videos[names[job_of_key(paid["idempotency_key"])]].append(video)
    stored, waiting = 0, 0
    for name, wanted in videos.items():
        before, after = after_faults.records[name], at_last.records[name]
        if before.output and after_faults.files.get(before.output["key"]) in wanted:
            stored += 1
        elif before.status in _RESUMABLE:
            waiting += 1
        else:
            report.breach(name, f"its video is finished, it is {before.status}, and the bucket does not have it")
        if not after.output or at_last.files.get(after.output["key"]) not in wanted:
            report.breach(name, f"its video is finished, and an operator could not deliver it: {after.status}")
    report.facts["jobs whose video the vendor finished"] = len(videos)
    report.facts["of these, in the bucket after the faults"] = stored
    report.facts["of these, for an operator to fetch"] = waiting
    there = sum(bool(job.output) for job in at_last.records.values())
    report.state("in the bucket at last", f"{there} of {len(videos)}", must_be=f"{len(videos)} of {len(videos)}")


def _check_bucket(report: Report, after_faults: Snapshot, at_last: Snapshot) -> None:
    run = report.run
    owners = {job.output["key"]: name for name, job in at_last.records.items() if job.output}
    complete = {video for paid in run.submissions() if (video := run.video_file(paid["video_id"]))}
    for video in complete:
        with av.open(io.BytesIO(video)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 8, "a second at eight frames"
    wrong = 0
    for key, body in at_last.files.items():
        stem, _, extension = key.rpartition(".")
        name = owners.get(f"{stem}.mp4", "-")
        good = body in complete if extension == "mp4" else extension == "json" and json.loads(body)["job_id"] in key
        if not good or name == "-":
            wrong += 1
            report.breach(name, f"{key} is neither a complete video nor a description of one")
    for key in after_faults.files:
        stem = key.removesuffix(".partial")
        if stem != key and stem in after_faults.files:
            report.breach(owners.get(stem, "-"), f"{key} is left beside a finished video")
    report.state("objects that are no complete video or its description", wrong, must_be=0)
    report.state("unfinished multipart uploads", len(at_last.unfinished_uploads), must_be=0)
