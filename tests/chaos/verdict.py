"""What must hold after a run, and the table that says whether it does.

Judges by what can be seen from outside: the vendor's books, the bucket, a subscriber's queue, the records. Must not
know how a fault is brought about.
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
    from tests.chaos.fault_injection import Picture, Storm


def kinds_of(fault: type[Fault]) -> list[type[Fault]]:
    """Every named error below this one, those that only gather others left out."""
    below = fault.__subclasses__()
    return [fault] * hasattr(fault, "code") + [kind for direct in below for kind in kinds_of(direct)]


_ENDS = {fault.__name__ for fault in kinds_of(Fault) if fault.branch in (Branch.REJECT, Branch.FAIL, Branch.HOLD)}
"""What may end a job for good. All else is tried again, and then left for a redrive."""
_CAN_BE_TAKEN_UP = {Status.INTERRUPTED, Status.UNCERTAIN, Status.FAILED, Status.TIMED_OUT}


@dataclass
class Verdict:
    """The table of a run, and every breach of what must hold.

    Attributes:
        breaches: Job (or `-`) and what is wrong.
    """

    storm: Storm
    facts: dict[str, object] = field(default_factory=dict)
    breaches: list[tuple[str, str]] = field(default_factory=list)

    def table(self) -> str:
        rows = {**self.facts, "wall time": f"{time.monotonic() - self.storm.began:.1f} s"}
        rows |= {f"  {row}": count for row, count in self.faults().items()}
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows.items())

    def faults(self) -> dict[str, int]:
        """What really went wrong: kind → how often."""
        fired = self.storm.functions.fired + self.storm.happened
        return {row: fired[row] for row in sorted(fired)}

    def failures(self) -> str:
        """Every breach, and for the first jobs concerned all that happened to them and how to replay them."""
        jobs = list(dict.fromkeys(job for job, _ in self.breaches if job != "-"))
        lines = [f"{len(self.breaches)} breaches, seed {self.storm.seed}:"]
        lines += [f"  {job}: {what}" for job, what in self.breaches[:50]]
        for order in [order for order in self.storm.orders if order.name in jobs[:3]]:
            lines += [
                "",
                f"{order.name} ({order.kind}, {order.recipe}, {order.job_id}) {order.weather}",
                *order.history,
            ]
            lines += [
                f"replay: CHAOS_SEED={self.storm.seed} CHAOS_JOBS={self.storm.size} CHAOS_ONLY={order.name} make chaos"
            ]
        return "\n".join(lines)

    def breach(self, job: str, what: str) -> None:
        self.breaches.append((job, what))

    def state(self, name: str, value: object, *, must_be: object) -> None:
        """A row with a value that it must have."""
        self.facts[name] = value
        if value != must_be:
            self.breach("-", f"{name}: {value}")


def judge(storm: Storm, after_storm: Picture, at_last: Picture) -> Verdict:
    """Hold a run against what must hold."""
    verdict = Verdict(storm)
    verdict.facts["seed"], verdict.facts["jobs"] = storm.seed, len(storm.orders)
    verdict.facts["faults that happened"] = sum(verdict.faults().values())
    verdict.facts["virtual time"] = f"{storm.clock.elapsed / 3600:.1f} h"
    verdict.facts["sweeps"] = ", ".join(f"{count} {how}" for how, count in sorted(storm.sweeps.items()))
    _judge_payments(verdict, after_storm, at_last)
    _judge_states(verdict, after_storm, at_last)
    _judge_notices(verdict, "after the storm", after_storm.records, after_storm.notices)
    _judge_notices(verdict, "at last", at_last.records, after_storm.notices + at_last.notices)
    _judge_videos(verdict, after_storm, at_last)
    _judge_bucket(verdict, after_storm, at_last)
    invariants.check(verdict, after_storm, at_last)
    if storm.limit:
        _judge_limit(verdict, after_storm)
    return verdict


def _judge_limit(verdict: Verdict, after_storm: Picture) -> None:
    """By the vendor's books no day goes beyond the limit, and the counter has left nothing out."""
    storm = verdict.storm
    paid: Counter[str] = Counter()
    for submission in storm.submissions():
        paid[storm.functions.sent_on[submission["idempotency_key"]]] += submission["cost"]
    verdict.facts["credits paid on each day"] = dict(paid)
    for day, credits_paid in paid.items():
        counted = storm.account.counted(day)
        if not credits_paid <= counted <= storm.limit:
            verdict.breach("-", f"{credits_paid} credits were paid and {counted:g} counted on {day}, of {storm.limit}")
    waited = {notice["job_id"] for notice in after_storm.notices if _code(notice) == DailyLimitReached.code}
    verdict.facts["jobs that waited for the next day"] = len(waited)


def _code(notice: dict[str, Any]) -> str | None:
    return (notice.get("error") or {}).get("code")


def _judge_payments(verdict: Verdict, after_storm: Picture, at_last: Picture) -> None:
    storm = verdict.storm
    names = {order.job_id: order.name for order in storm.orders}
    by_operator = {order.name for order in storm.orders if order.resubmitted}
    paid = Counter(submission["idempotency_key"] for submission in storm.submissions())
    for key in (key for key, times in paid.items() if times > 1):
        verdict.breach(names[job_of_key(key)], f"paid {paid[key]} times")
    jobs = Counter(names[job_of_key(key)] for key in paid.elements())
    verdict.facts["jobs paid for"] = len(jobs)
    alone = [times for name, times in jobs.items() if name not in by_operator]
    verdict.state("most paid POSTs of one job without an operator", max(alone, default=0), must_be=1 if alone else 0)
    verdict.facts["jobs paid again by an operator's choice"] = sum(jobs[name] > 1 for name in by_operator)
    functions = storm.functions
    verdict.facts["jobs with a POST of unknown outcome"] = len(functions.unknown)
    for key in sorted(functions.resent):
        verdict.breach(names[job_of_key(key)], "sent again after an unknown outcome")
    verdict.state("of these, sent again", len(functions.resent), must_be=0)
    told = 0
    unknown = sorted({names[job_of_key(key)] for key in functions.unknown} - by_operator)
    for name in unknown:
        before, after = after_storm.records[name], at_last.records[name]
        waits = before.status is Status.INTERRUPTED and before.claim is not None
        told += before.status is Status.UNCERTAIN
        if before.status is not Status.UNCERTAIN and not waits:
            verdict.breach(name, f"of unknown outcome, and {before.status}")
        if after.status is not (Status.SUCCEEDED if _has_film(storm, after) else Status.UNCERTAIN):
            verdict.breach(name, f"of unknown outcome, and {after.status} in the end")
    verdict.facts["of these, uncertain / interrupted with their claim"] = f"{told} / {len(unknown) - told}"


def _has_film(storm: Storm, job: Job) -> bool:
    return job.video_id is not None and storm.film(job.video_id) is not None


def _judge_states(verdict: Verdict, after_storm: Picture, at_last: Picture) -> None:
    storm = verdict.storm
    for name in sorted(
        order.name for order in storm.orders if order.accepted and order.name not in after_storm.records
    ):
        verdict.breach(name, "accepted, and there is no record of it")
    for moment, picture, allowed in (
        ("after the storm", after_storm, {*TERMINAL, Status.ON_HOLD, Status.INTERRUPTED}),
        ("at last", at_last, TERMINAL),
    ):
        count = Counter(job.status.value for job in picture.records.values())
        verdict.facts[f"states {moment}"] = ", ".join(f"{count[status]} {status}" for status in sorted(count))
        for name, job in picture.records.items():
            if job.status not in allowed:
                verdict.breach(name, f"left {job.status} {moment}")
            elif job.status is not Status.SUCCEEDED and not (job.error and job.error.get("message")):
                verdict.breach(name, f"{job.status} {moment}, and its record names no reason")
            elif job.status is Status.FAILED and job.error and job.error.get("error") not in _ENDS:
                verdict.breach(name, f"given up {moment} for {job.error.get('error')}, which a redrive mends")
        verdict.state(f"executions still running {moment}", len(picture.running), must_be=0)
    for name in sorted(set(storm.stranded)):
        verdict.breach(name, "queued without an execution after a sweep")
    verdict.state("queued jobs that a sweep left without an execution", len(set(storm.stranded)), must_be=0)


def _judge_notices(verdict: Verdict, moment: str, records: dict[str, Job], notices: list[dict[str, object]]) -> None:
    heard: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for notice in notices:
        heard[str(notice["job_id"])][str(notice["notification_id"])] += 1
    may_repeat = verdict.storm.functions.may_repeat
    announced = repeated = 0
    for name, job in records.items():
        copies = heard[job.job_id]
        ends = {status for status in TERMINAL if status.value in job.timeline}
        heads = {notification.partition("#")[0] for notification in copies}
        told = {status for status in TERMINAL if f"{job.job_id}/{status}" in heads}
        announced += len(told)
        for status in sorted(ends - told):
            verdict.breach(name, f"became {status}, and nobody was told ({moment})")
        for status in sorted(told - ends):
            verdict.breach(name, f"was announced as {status}, and never was it ({moment})")
        if job.status is Status.INTERRUPTED and not any("/interrupted#" in notification for notification in copies):
            verdict.breach(name, f"interrupted, and nobody was told ({moment})")
        for notification, times in copies.items():
            repeated += times - 1
            if times - 1 > may_repeat[notification]:
                verdict.breach(name, f"{notification} came {times} times ({moment})")
    verdict.facts[f"terminal notifications {moment}"] = announced
    verdict.facts[f"copies of a notification {moment}, all by a kill or a lost answer after it was sent"] = repeated


def _judge_videos(verdict: Verdict, after_storm: Picture, at_last: Picture) -> None:
    storm = verdict.storm
    names = {order.job_id: order.name for order in storm.orders}
    # More than one only where an operator chose to pay again.
    films: defaultdict[str, list[bytes]] = defaultdict(list)
    for paid in storm.submissions():
        if film := storm.film(paid["video_id"]):
            films[names[job_of_key(paid["idempotency_key"])]].append(film)
    home, waiting = 0, 0
    for name, wanted in films.items():
        before, after = after_storm.records[name], at_last.records[name]
        if before.output and after_storm.files.get(before.output["key"]) in wanted:
            home += 1
        elif before.status in _CAN_BE_TAKEN_UP:
            waiting += 1
        else:
            verdict.breach(name, f"its video is finished, it is {before.status}, and the bucket does not have it")
        if not after.output or at_last.files.get(after.output["key"]) not in wanted:
            verdict.breach(name, f"its video is finished, and an operator could not bring it home: {after.status}")
    verdict.facts["jobs whose video the vendor finished"] = len(films)
    verdict.facts["of these, in the bucket after the storm"] = home
    verdict.facts["of these, for an operator to fetch"] = waiting
    there = sum(bool(job.output) for job in at_last.records.values())
    verdict.state("in the bucket at last", f"{there} of {len(films)}", must_be=f"{len(films)} of {len(films)}")


def _judge_bucket(verdict: Verdict, after_storm: Picture, at_last: Picture) -> None:
    storm = verdict.storm
    owners = {job.output["key"]: name for name, job in at_last.records.items() if job.output}
    whole = {film for paid in storm.submissions() if (film := storm.film(paid["video_id"]))}
    for film in whole:
        with av.open(io.BytesIO(film)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 8, "a second at eight frames"
    wrong = 0
    for key, body in at_last.files.items():
        stem, _, extension = key.rpartition(".")
        name = owners.get(f"{stem}.mp4", "-")
        good = body in whole if extension == "mp4" else extension == "json" and json.loads(body)["job_id"] in key
        if not good or name == "-":
            wrong += 1
            verdict.breach(name, f"{key} is no complete video and none's description")
    for key in after_storm.files:
        stem = key.removesuffix(".partial")
        if stem != key and stem in after_storm.files:
            verdict.breach(owners.get(stem, "-"), f"{key} is left beside a finished video")
    verdict.state("objects that are no complete video or its description", wrong, must_be=0)
    verdict.state("unfinished multipart uploads", len(at_last.unfinished_uploads), must_be=0)
