"""Write jobs into their DynamoDB table, by conditional writes only.

Every write names the statuses it may start from (`shared.jobs.states`), so two writers cannot both win, and a late or
repeated event cannot undo a newer one. The claim is written here: it keeps a job from being paid for twice. What was
read is written back only if nobody has changed it since. Must not know the vendor, files, or what a notification says.
"""

from __future__ import annotations

import json
import random
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack

from shared.jobs import identity
from shared.jobs.attributes import typed
from shared.jobs.errors import LIMIT_CODES
from shared.jobs.items import as_seen, counted_as_read, from_item, key_of, to_item
from shared.jobs.queries import OWNER_OF, JobQueries, Owner
from shared.jobs.record import MAY_BE_PAID, Fields, Hold, Job, Removable, notice_of
from shared.jobs.states import Status, sources_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient


_OUTAGE: tuple[Removable, ...] = ("redrives", "redrive_at", "redrive_until")
"""What a record holds of an outage: its automatic redrives. Set and removed together."""
_HOLDS: tuple[Hold, ...] = ("held_since", "limit_held_since")
"""Since when a job is on hold, for each kind of hold. What ends one ends the other."""

_OF_ITS_VIDEO = "(attribute_not_exists(video_id) OR video_id = :video)"
"""The condition that a job has no other video than `:video`."""

# A transaction's reasons, and those of them that pass.
_CONDITION = "ConditionalCheckFailed"
_PASSING = frozenset({"TransactionConflict", "ThrottlingError", "ProvisionedThroughputExceeded"})
_TRIES, _LONGEST_PAUSE = 8, 1.0  # at most about three seconds of pauses
# Another video that an answer named is written down as a further one first.
_FITS_THE_VIDEO = (
    "(video_id = :video OR (attribute_not_exists(video_id)"
    " AND (attribute_not_exists(possible_video_id) OR possible_video_id = :video)))"
)


class TransitionConflict(Exception):
    """A conditional write found the job elsewhere than expected. Control flow between modules; never leaves a handler.

    Args:
        current: The job as it is, or None where there is no such job.
    """

    def __init__(self, current: Job | None) -> None:
        super().__init__("no such job" if current is None else f"the job is {current.status}")
        self.current = current

    @property
    def found(self) -> str:
        """The job's status, or `gone`."""
        return "gone" if self.current is None else self.current.status.value

    def require_job(self) -> Job:
        """Return the job as it is.

        Raises:
            TransitionConflict: There is no such job.
        """
        if self.current is None:
            raise self
        return self.current


class CounterConflict(Exception):
    """The condition of the counter in a job's transaction failed: neither was changed. Never leaves a handler.

    Args:
        attributes: The counter's item as it is.
    """

    def __init__(self, attributes: dict[str, Any]) -> None:
        super().__init__("the counter's condition does not hold")
        self.attributes = attributes


class VideoTaken(Exception):
    """A video was given to a job since its owner was read. Control flow between modules; never leaves a handler."""


class JobStore(JobQueries):
    """The jobs table.

    Args:
        retention_days: How long a record is kept after its last change of status, in days.
    """

    def __init__(self, client: DynamoDBClient, table: str, *, retention_days: int = 90) -> None:
        super().__init__(client, table)
        self._retention = retention_days * 86_400

    def create(self, job_id: str, *, source: Mapping[str, Any], **attributes: Unpack[Fields]) -> tuple[Job, bool]:
        """Put a new job in `queued`, or find the one that is there.

        Returns:
            The job, and whether this call made it.
        """
        now = _now()
        item = {
            "job_id": job_id,
            "status": Status.QUEUED.value,
            "created_at": now,
            "source": dict(source),
            "timeline": {Status.QUEUED.value: now},
            **self._stamps(),
            **{name: value for name, value in attributes.items() if value is not None},
        }
        try:
            self._client.put_item(
                TableName=self._table, Item=to_item(item), ConditionExpression="attribute_not_exists(job_id)"
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            existing = self.get(job_id)
            if existing is None:  # expired between the two calls
                return self.create(job_id, source=source, **attributes)
            return existing, False
        return Job.from_attributes(item), True

    def claim(
        self,
        job_id: str,
        attempt: str,
        *,
        take_over: str | None = None,
        is_counted: bool = False,
        given_back: int = 0,
        **attributes: Unpack[Fields],
    ) -> Job:
        """Take the one right to send the paid POST.

        Args:
            attempt: Names this attempt, so that only it can give the claim back.
            take_over: The claim of an attempt of unknown end, as it was read, that may be lost to this one. Only where
                the vendor's idempotency is trusted.
            is_counted: Whether there must be such a claim, because it alone was counted against the daily limit.
            given_back: How many claims of the job had been given back when it was read (`Job.claims_given_back`).
            **attributes: What was resolved for this attempt (request, model_id, recipe). With `execution`, the job must
                not be another execution's.

        Raises:
            TransitionConflict: The job is claimed by an attempt whose end nobody knows, is paid for, has ended, or was
                taken up by another execution; or a claim was given back since it was read.
        """
        # botocore repeats a write whose answer was lost, so an attempt may find a claim that is its own.
        free = " AND (attribute_not_exists(claim) OR claim = :claim" + (" OR claim = :lost)" if take_over else ")")
        free += " AND attribute_exists(claim)" if is_counted else ""
        as_read, seen = counted_as_read(claims_given_back=given_back)
        now = int(time.time())
        return self._enter(
            job_id,
            Status.SUBMITTING,
            condition=f"attribute_not_exists(video_id) AND {as_read}{_of_its_execution(attributes)}{free}",
            values=seen | ({":lost": take_over} if take_over else {}),
            remove=("error",),
            stay=True,
            claim=attempt,
            claimed_at=None if take_over else now,
            attempt_at=now,
            **attributes,
        )

    def claim_counted(
        self,
        job: Job,
        attempt: str,
        *,
        reservation: Mapping[str, Any],
        counter: Mapping[str, Any],
        **attributes: Unpack[Fields],
    ) -> Job:
        """Take the claim of a job as it was read, and count it against the daily limit: both or neither.

        Args:
            job: The job, without a claim.
            attempt: Names this attempt.
            reservation: What is counted for it.
            counter: The other half of the transaction, an `Update` with a condition.
            **attributes: What was resolved for this attempt.

        Raises:
            TransitionConflict: As `claim`; or an operator has chosen to pay again since it was read.
            CounterConflict: The limit does not cover it.
        """
        as_read, seen = counted_as_read(resubmissions=job.resubmissions, claims_given_back=job.claims_given_back)
        now = int(time.time())
        claim: dict[str, Any] = {"claim": attempt, "claimed_at": now, "attempt_at": now, "reserved": dict(reservation)}
        free = f"attribute_not_exists(video_id) AND attribute_not_exists(claim){_of_its_execution(attributes)}"
        change = self._transition(
            job.job_id,
            Status.SUBMITTING,
            condition=f"{free} AND {as_read}",
            values=seen,
            remove=("error",),
            stay=True,
            **attributes,
            **claim,
        )
        try:
            self._together(change, counter)
        except TransitionConflict as refused:
            # Sent a second time because the first answer was lost: the claim is this attempt's, and it was counted.
            if refused.current is None or refused.current.claim != attempt:
                raise
            return refused.current
        # As far as this attempt can tell without another read that could fail between the claim and the paid call.
        return replace(job, status=Status.SUBMITTING, **claim)

    def settle(self, job_id: str, video_id: str, *, counter: Mapping[str, Any]) -> None:
        """Replace what was reserved for a video with its real cost, once.

        Args:
            video_id: The video, which is on the record already.
            counter: The other half of the transaction, an `Update` without a condition.

        Raises:
            TransitionConflict: That was done before, or the record has no such video.
        """
        change = self._change(
            job_id,
            {},
            condition="attribute_exists(reserved) AND video_id = :video",
            values={":video": video_id},
            remove=("reserved",),
        )
        self._together(change, counter)

    def release(
        self, job_id: str, attempt: str, error: Mapping[str, Any], *, counter: Mapping[str, Any] | None = None
    ) -> None:
        """Give the claim back after a definite refusal: nothing was paid, and the POST may be sent again.

        The refusal stays on the record until the next attempt, so that a job which is being retried says why. A job
        that has ended meanwhile stays where it is, and loses the claim all the same.

        Args:
            attempt: Whose claim it is.
            error: The refusal.
            counter: What gives its credits back, both or neither: an `Update` without a condition. None: the claim was
                not counted, or its credits stay counted.

        Raises:
            TransitionConflict: The claim is not this attempt's any more.
        """
        own: dict[str, Any] = {
            "condition": "claim = :attempt",
            "values": {":attempt": attempt},
            "remove": ("claim",) if counter is None else ("claim", "reserved"),
        }
        try:
            queued = self._transition(job_id, Status.QUEUED, error=dict(error), **own)
            self._write(_giving_back(queued), counter)
        except TransitionConflict:
            self._write(_giving_back(self._change(job_id, {}, **own)), counter)

    def refuse_claim(self, job_id: str, attempt: str) -> None:
        """Make sure that a claim which has not landed yet never does: its attempt has given up and sent nothing.

        Raises:
            TransitionConflict: It has landed, or there is no such job.
        """
        change = self._change(
            job_id,
            {},
            condition="attribute_exists(job_id) AND (attribute_not_exists(claim) OR claim <> :attempt)",
            values={":attempt": attempt},
        )
        self._send(_giving_back(change))

    def end_attempt(self, job_id: str, attempt: str) -> None:
        """Note that an attempt which keeps its claim has ended, so that nobody waits for it.

        Raises:
            TransitionConflict: The claim is not this attempt's any more.
        """
        self._update(job_id, {"ended_attempt": attempt}, condition="claim = :ended_attempt")

    def record_accepted(self, job_id: str, video_id: str, /, **attributes: Unpack[Fields]) -> Job:
        """Write down the vendor's video: from here on the job is paid for. May be repeated with the same video.

        Raises:
            TransitionConflict: Another video is on the record, also one that an answer of unknown outcome named (see
                `name_video`), or the job has ended or is delivered already.
        """
        return self._enter(
            job_id,
            Status.PROCESSING,
            condition=f"{_FITS_THE_VIDEO} AND #status <> :delivering",
            values={":video": video_id, ":delivering": Status.DELIVERING.value},
            # The vendor answers: an outage is over.
            remove=("claim", "error", *_HOLDS, *_OUTAGE),
            stay=True,
            video_id=video_id,
            **attributes,
        )

    def record_video(self, job_id: str, video_id: str, /, **attributes: Unpack[Fields]) -> Job:
        """Write down the video of a job that has ended meanwhile: it is paid for all the same. The status stays.

        Raises:
            TransitionConflict: There is no such job, or another video is on its record.
        """
        return self._update(
            job_id,
            {"video_id": video_id, **attributes},
            condition=f"attribute_exists(job_id) AND {_FITS_THE_VIDEO}",
            values={":video": video_id},
            remove=("claim",),
        )

    def name_video(self, job: Job, video_id: str) -> Job:
        """Write down a video that an answer names for a job without one. One that was named before stays known.

        Args:
            job: The job as it was read, without a video of its own.

        Raises:
            TransitionConflict: The job has changed since it was read.
        """
        condition, values = as_seen(job)
        others = {name: facts for name, facts in job.other_videos.items() if name != video_id}
        if job.possible_video_id not in (None, video_id):
            others[str(job.possible_video_id)] = dict(MAY_BE_PAID)
        changed = {} if others == job.other_videos else {"other_videos": others}
        return self._update(job.job_id, {"possible_video_id": video_id, **changed}, condition=condition, values=values)

    def add_video(
        self,
        job: Job,
        video_id: str,
        facts: Mapping[str, Any],
        /,
        *,
        counter: Mapping[str, Any] | None = None,
        **attributes: Unpack[Fields],
    ) -> None:
        """Write down one more video of a job that has one already.

        Args:
            job: The job as it was read: with another video, and without this one.
            video_id: The further video.
            facts: What is known of it: `credits_used`, `submitted_at` (epoch seconds).
            counter: What its cost changes in the daily limit's counter, both or neither: an `Update` without a
                condition.
            **attributes: Further attributes to set.

        Raises:
            TransitionConflict: The job has changed since it was read.
        """
        condition, values = as_seen(job)
        known = {name: value for name, value in facts.items() if value is not None}
        change = self._change(
            job.job_id,
            {"other_videos": {**job.other_videos, video_id: known}, **attributes},
            condition=condition,
            values=values,
        )
        self._write(change, counter)

    def note_owner(self, video_id: str, job_id: str, *, displace: bool = True) -> None:
        """Record which job a video belongs to. The index does not have a job's further videos.

        Args:
            displace: Whether it takes the place of another job.
        """
        self._client.update_item(**self._owning(video_id, job_id, displace=displace))

    def _owning(self, video_id: str, job_id: str, *, displace: bool = True) -> dict[str, Any]:
        """The change of a video's own item that gives it to a job."""
        owner = ":job" if displace else "if_not_exists(belongs_to, :job)"
        values = {":job": job_id, ":expires": int(time.time()) + self._retention, ":once": 1}
        return {
            "TableName": self._table,
            "Key": key_of(f"{OWNER_OF}{video_id}"),
            "UpdateExpression": f"SET belongs_to = {owner}, expires_at = :expires ADD #times :once",
            "ConditionExpression": "attribute_not_exists(created_at)",  # never into a job's record
            "ExpressionAttributeNames": {"#times": "times"},
            "ExpressionAttributeValues": to_item(values),
        }

    def begin_delivery(self, job_id: str, video_id: str) -> Job:
        """Enter `delivering` with a finished video, or stay there.

        Raises:
            TransitionConflict: The job has another video, which an operator may have given it since it was read, or has
                ended.
        """
        return self._enter(job_id, Status.DELIVERING, stay=True, condition=_OF_ITS_VIDEO, values={":video": video_id})

    def close(
        self,
        job_id: str,
        target: Status,
        *,
        execution: str,
        error: dict[str, Any] | None = None,
        is_without_video: bool = False,
    ) -> Job:
        """Close an open job at the end of its execution; a notification of it is due.

        Args:
            target: How it ends.
            execution: ARN of the execution. One that is not the job's (any more) must not end it.
            error: Why it ends.
            is_without_video: Whether it is closed only if it has no video.

        Raises:
            TransitionConflict: There is no such job, it has ended, is another execution's, has a video, or its paid
                call may be under way, which no refusal may end.
        """
        condition = "(attribute_not_exists(execution) OR execution = :own)"
        if target is Status.FAILED:
            condition += " AND (attribute_not_exists(claim) OR attribute_exists(video_id))"
        if is_without_video:
            condition += " AND attribute_not_exists(video_id)"
        return self._close(
            job_id, target, execution, condition=condition, values={":own": execution}, error=error, execution=execution
        )

    def cancel(self, job_id: str, execution: str | None) -> Job:
        """Close an open job because nobody wants it any more; a notification of it is due. It may be canceled already.

        Args:
            execution: ARN of its execution, if it has one. Each later execution may be canceled with a notification.

        Raises:
            TransitionConflict: There is no such job, or it has ended otherwise.
        """
        try:
            return self._close(job_id, Status.CANCELED, execution or "", remove=("error",))
        except TransitionConflict as refused:
            if refused.current is None or refused.current.status is not Status.CANCELED:
                raise
            return refused.current

    def _close(
        self, job_id: str, target: Status, of_execution: str, *, remove: tuple[Removable, ...] = (), **options: Any
    ) -> Job:
        # A job that an operator took up again may end a second time, the same way.
        notice = notice_of(target, identity.turn_of(of_execution))
        remove = (*remove, *_HOLDS, *_OUTAGE)
        return self._enter(job_id, target, notice_due=notice, remove=remove, **options)

    def hold(
        self, job: Job, kind: Hold, *, is_quiet: bool = False, ends: tuple[Hold, ...] = (), **attributes: Unpack[Fields]
    ) -> Job:
        """Put a job on hold, or keep it there. A notification is due where the hold begins.

        Args:
            job: The job as it was read.
            kind: Which hold it is.
            is_quiet: Whether nobody is notified.
            ends: Other holds that end with it.

        Raises:
            TransitionConflict: The job is not open, or somebody else has begun the hold since it was read.
        """
        if getattr(job, kind) is not None:
            return self.transition(job.job_id, Status.ON_HOLD, stay=True, remove=ends, **attributes)
        now = time.time()
        # In milliseconds: an interruption may end a hold and begin the next one within a second.
        notice = None if is_quiet else notice_of(Status.ON_HOLD, str(round(now * 1000)))
        since: Any = {kind: int(now)}
        return self._enter(
            job.job_id,
            Status.ON_HOLD,
            stay=True,
            condition=f"attribute_not_exists({kind})",
            # The vendor answered, or the daily limit did: an outage is over.
            remove=(*ends, *_OUTAGE),
            notice_due=notice,
            **since,
            **attributes,
        )

    def interrupt(
        self,
        job_id: str,
        execution: str,
        /,
        *,
        moment: str,
        ended_at: int | None,
        is_news: bool,
        **attributes: Unpack[Fields],
    ) -> Job:
        """Note that a job's execution ended without closing it.

        Args:
            moment: Tells this end from another one of the same execution.
            ended_at: When it ended, in epoch milliseconds. None: it is not known.
            is_news: Whether a notification is due.
            **attributes: Fields to set: `error`, and `redrive_at` where it is redriven automatically.

        Raises:
            TransitionConflict: There is no such job, it has ended or is another execution's, or this end or a later
                one is known.
        """
        interruption = f"{execution}#{moment}"
        condition = "(attribute_not_exists(interrupted_by) OR interrupted_by <> :interruption)"
        # An operator may have taken the job up again since it was read.
        condition += " AND (attribute_not_exists(execution) OR execution = :own)"
        values: dict[str, Any] = {":interruption": interruption, ":own": execution}
        if ended_at:
            # News may be a day late, and the job may have gone on and ended again since.
            condition += " AND (attribute_not_exists(interrupted_at) OR interrupted_at < :ended_at)"
            values[":ended_at"] = ended_at
        end: Fields = {"interrupted_by": interruption, "interrupted_at": ended_at, "execution": execution}
        return self._interrupt(
            job_id, moment, {**attributes, **end}, is_news=is_news, stay=True, condition=condition, values=values
        )

    def interrupt_again(
        self, job_id: str, execution: str, /, *, moment: str, is_news: bool, **attributes: Unpack[Fields]
    ) -> Job:
        """Note an interruption once more, where a step outlived the execution and moved the job on after its end.

        Args:
            moment: Tells this note from another one.
            is_news: Whether a notification is due.
            **attributes: As for `interrupt`.

        Raises:
            TransitionConflict: The job is another execution's, has ended, or is interrupted.
        """
        condition, values = "execution = :own AND #status <> :there", {":own": execution}
        values[":there"] = Status.INTERRUPTED.value
        return self._interrupt(job_id, moment, attributes, is_news=is_news, condition=condition, values=values)

    def _interrupt(self, job_id: str, moment: str, attributes: Fields, *, is_news: bool, **options: Any) -> Job:
        notice = notice_of(Status.INTERRUPTED, moment) if is_news else None
        is_left = attributes.get("redrive_at") is None
        # A redrive that meets the account's trouble again begins a hold of its own.
        remove: tuple[Removable, ...] = (*_HOLDS, *(_OUTAGE if is_left else ()))
        return self._enter(job_id, Status.INTERRUPTED, remove=remove, notice_due=notice, **options, **attributes)

    def correct(self, job: Job, *, source: Mapping[str, Any], execution: str) -> Job:
        """Queue a failed and unpaid job again, with another file in the place of the one that was refused.

        Args:
            job: The job as it was read.
            source: Where the file is.
            execution: ARN of the execution that follows.

        Raises:
            TransitionConflict: It has been taken up since, or may be paid for.
        """
        return self._enter(
            job.job_id,
            Status.QUEUED,
            reopen=True,
            condition=(
                "#status = :failed AND execution = :seen AND attribute_not_exists(video_id) "
                "AND attribute_not_exists(claim)"
            ),
            values={":failed": Status.FAILED.value, ":seen": job.execution},
            remove=("error", "notice_due", *_HOLDS, *_OUTAGE),
            source=dict(source),
            execution=execution,
            # Another request must not come under the Idempotency-Key of the one that was refused.
            resubmissions=job.resubmissions + 1,
        )

    def transition(
        self,
        job_id: str,
        target: Status,
        *,
        remove: Iterable[Removable] = (),
        reopen: bool = False,
        stay: bool = False,
        **attributes: Unpack[Fields],
    ) -> Job:
        """Change a job's status, and fields with it, if the table of states allows it.

        Args:
            target: The status to enter.
            reopen: Whether an operator asks, who alone may leave a terminal status.
            stay: Whether a job that is there already may enter again.

        Raises:
            TransitionConflict: The job is somewhere from where this transition is not allowed.
        """
        return self._enter(job_id, target, remove=remove, reopen=reopen, stay=stay, **attributes)

    def _enter(self, job_id: str, target: Status, **options: Any) -> Job:
        return self._send(self._transition(job_id, target, **options))

    def _transition(
        self,
        job_id: str,
        target: Status,
        *,
        condition: str | None = None,
        values: Mapping[str, Any] | None = None,
        remove: Iterable[Removable] = (),
        reopen: bool = False,
        stay: bool = False,
        **attributes: Any,
    ) -> dict[str, Any]:
        sources = sorted(sources_of(target, reopen=reopen) | ({target} if stay else set()))
        allowed = {f":from{index}": status.value for index, status in enumerate(sources)}
        return self._change(
            job_id,
            {**attributes, "status": target.value, **self._stamps()},
            entered=target,
            condition=f"#status IN ({', '.join(allowed)})" + (f" AND {condition}" if condition else ""),
            values={**allowed, **(values or {})},
            remove=remove,
        )

    def set_source(self, job_id: str, source: Mapping[str, Any]) -> Job:
        """Write down where a job came from, which its record did not know.

        Raises:
            TransitionConflict: There is no such job.
        """
        return self._update(job_id, {"source": dict(source)}, condition="attribute_exists(job_id)")

    def update(
        self, job_id: str, *, remove: Iterable[Removable] = (), video: str | None = None, **attributes: Unpack[Fields]
    ) -> Job:
        """Set attributes without a change of status.

        Args:
            video: The video that they are about. None: any.
            **attributes: Attributes to set. None leaves one as it is.

        Raises:
            TransitionConflict: There is no such job, or it has another video.
        """
        condition, values = "attribute_exists(job_id)", {}
        if video is not None:
            condition, values = f"{condition} AND {_OF_ITS_VIDEO}", {":video": video}
        return self._update(job_id, attributes, condition=condition, values=values, remove=remove)

    def take_up(
        self,
        job: Job,
        target: Status,
        execution: str,
        /,
        *,
        owner: Owner | None = None,
        remove: Iterable[Removable] = (),
        **attributes: Unpack[Fields],
    ) -> None:
        """Give a job, as it was read, a new status, a later execution and perhaps a video. Holds and an outage end.

        Args:
            owner: Whose the video was when it was read, before anything else was found out about it. The video gets
                its new owner in the same transaction. None: it does not matter whose the video is, or there is none.

        Raises:
            TransitionConflict: The job's status, execution or videos have changed since it was read.
            VideoTaken: The video was given to a job since.
        """
        condition, values = as_seen(job)
        removed = (*remove, "notice_due", *_HOLDS, *_OUTAGE)
        options: dict[str, Any] = {"condition": condition, "values": values, "remove": removed, "execution": execution}
        change = self._transition(job.job_id, target, reopen=True, stay=True, **{**attributes, **options})
        if owner is None:
            self._send(change)
            return
        owning = self._owning(owner.video_id, job.job_id)
        for name, value in (("#times", owner.times or None), ("belongs_to", owner.job_id)):
            seen = f":seen_{name.strip('#')}"
            as_read = f"attribute_not_exists({name})" if value is None else f"{name} = {seen}"
            owning["ConditionExpression"] += f" AND {as_read}"
            owning["ExpressionAttributeValues"] |= {} if value is None else {seen: typed(value)}
        owning["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            self._together(change, owning)
        except CounterConflict:
            raise VideoTaken from None

    def separate_holds(self, job: Job) -> Job:
        """Give a hold for the daily limit its own attribute. Older versions kept both kinds in `held_since`.

        Returns:
            The job as it is now.

        Raises:
            TransitionConflict: There is no such job any more.
        """
        is_separate = job.held_since is None or job.limit_held_since is not None
        if is_separate or (job.error or {}).get("code") not in LIMIT_CODES:
            return job
        try:
            return self._update(
                job.job_id,
                {"limit_held_since": job.held_since},
                condition="held_since = :seen AND attribute_not_exists(limit_held_since)",
                values={":seen": job.held_since},
                remove=("held_since",),
            )
        except TransitionConflict as refused:
            return refused.require_job()

    def strip_links(self, job: Job) -> Job:
        """Take what opens links off the request of a job that has ended. Nothing happens if it has been taken up since.

        Args:
            job: The job as it was read.

        Returns:
            The job, with what was taken off.
        """
        if not job.is_terminal or job.request is None or (kept := _without_secrets(job.request)) == job.request:
            return job
        stripped: dict[str, Any] = {"request": kept, "links_stripped": True}
        try:
            self._update(job.job_id, stripped, condition="#status = :there", values={":there": job.status.value})
        except TransitionConflict:
            return job
        return replace(job, **stripped)

    def redriving(self, job: Job, *, deadline_at: int | None) -> None:
        """Count an automatic redrive that is about to be tried.

        Args:
            job: The job as it was read, interrupted and due.
            deadline_at: A later deadline for its video; None leaves it.

        Raises:
            TransitionConflict: It is not due any more: it runs again, has ended, or somebody has taken it up.
        """
        self._update(
            job.job_id,
            {"redrives": job.redrives + 1, "deadline_at": deadline_at},
            condition="#status = :interrupted AND redrive_at = :due AND interrupted_by = :seen",
            values={":interrupted": Status.INTERRUPTED.value, ":due": job.redrive_at, ":seen": job.interrupted_by},
        )

    def end_outage(self, job_id: str) -> None:
        """Forget how often a job was redriven automatically: a person redrives it now.

        Raises:
            TransitionConflict: There is no such job.
        """
        self.update(job_id, remove=_OUTAGE)

    def notification_sent(self, job_id: str, notice: str) -> None:
        """Cross off a notification that was due. Nothing happens if another one has become due since."""
        values = {":notice": notice}
        with suppress(TransitionConflict):
            self._update(job_id, {}, condition="notice_due = :notice", values=values, remove=("notice_due", "counted"))

    def _stamps(self) -> dict[str, int]:
        now = int(time.time())
        return {"changed_at": now, "expires_at": now + self._retention}

    def _update(self, job_id: str, attributes: Mapping[str, Any], **options: Any) -> Job:
        return self._send(self._change(job_id, attributes, **options))

    def _change(
        self,
        job_id: str,
        attributes: Mapping[str, Any],
        *,
        condition: str,
        values: Mapping[str, Any] | None = None,
        remove: Iterable[Removable] = (),
        entered: Status | None = None,
    ) -> dict[str, Any]:
        """A change of a job's item, as `UpdateItem` and a transaction's `Update` take it."""
        changes = {name: value for name, value in attributes.items() if value is not None}
        removed = tuple(remove)
        names = {f"#{name}": name for name in (*changes, *removed)}
        bound: dict[str, Any] = {f":{name}": value for name, value in changes.items()} | dict(values or {})
        sets = [f"#{name} = :{name}" for name in changes]
        if entered not in (None, Status.QUEUED):  # a job is queued once: when it was asked for
            names |= {"#timeline": "timeline", "#entered": entered.value}
            bound[":now"] = _now()
            sets.append("#timeline.#entered = :now")
        if "#status" in condition:
            names["#status"] = "status"
        clauses = (("SET", sets), ("REMOVE", [f"#{name}" for name in removed]))
        change: dict[str, Any] = {
            "TableName": self._table,
            "Key": key_of(job_id),
            "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts),
            "ConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
        if bound:
            change["ExpressionAttributeValues"] = to_item(bound)
        return change

    def _send(self, change: dict[str, Any]) -> Job:
        try:
            answer = self._client.update_item(**change, ReturnValues="ALL_NEW")
        except self._client.exceptions.ConditionalCheckFailedException as error:
            raise _refused(error.response) from None
        return Job.from_attributes(from_item(answer["Attributes"]))

    def _write(self, change: dict[str, Any], counter: Mapping[str, Any] | None) -> None:
        if counter is None:
            self._send(change)
        else:
            self._together(change, counter)

    def _together(self, change: Mapping[str, Any], counter: Mapping[str, Any]) -> None:
        """Change a job and a counter, or the owner of a video: both or neither.

        Many jobs share the other item. DynamoDB lets one transaction in and refuses the others that come at the same
        moment; botocore leaves it to the caller to try those again.
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html

        Raises:
            TransitionConflict: The job's condition does not hold.
            CounterConflict: The other item's condition does not hold.
        """
        transaction: Any = [{"Update": change}, {"Update": counter}]
        for attempt in range(1, _TRIES + 1):
            try:
                self._client.transact_write_items(TransactItems=transaction)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons: Any = error.response["CancellationReasons"]
                of_job, of_counter = (reason.get("Code") for reason in reasons)
                if of_job == _CONDITION:
                    raise _refused(reasons[0]) from None
                if of_counter == _CONDITION:
                    raise CounterConflict(from_item(reasons[1].get("Item", {}))) from None
                if attempt == _TRIES or not {of_job, of_counter} & _PASSING:
                    raise
                time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.02 * 2**attempt)))  # noqa: S311 - it only spreads out
            else:
                return


def _giving_back(change: Mapping[str, Any]) -> dict[str, Any]:
    """Count in a change of a job's item that a claim was given back.

    A claim whose answer was lost may land after its attempt has given it back. It names the number that its attempt
    read, so it is refused from now on, however late it lands.
    """
    return {
        **change,
        "UpdateExpression": f"{change['UpdateExpression']} ADD #given_back :once".strip(),
        "ExpressionAttributeNames": {**change["ExpressionAttributeNames"], "#given_back": "claims_given_back"},
        "ExpressionAttributeValues": {**change["ExpressionAttributeValues"], ":once": {"N": "1"}},
    }


def _refused(answer: Any) -> TransitionConflict:
    """Why a condition failed: the job as it is, from the answer or from one of a transaction's reasons."""
    item = answer.get("Item")
    return TransitionConflict(Job.from_attributes(from_item(item)) if item else None)


def _of_its_execution(attributes: Mapping[str, Any]) -> str:
    """The condition that the job is not another execution's than the one which claims it."""
    return " AND (attribute_not_exists(execution) OR execution = :execution)" if "execution" in attributes else ""


def _without_secrets(request: str) -> str:
    """A request as JSON text without what opens the links in it; the same text where nothing does."""
    from shared.jobs.links import without_secrets  # here, because few calls end a job

    try:
        body = json.loads(request)
        kept = without_secrets(body)
    except RecursionError:  # nobody could send that
        return "{}"
    return request if kept == body else json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
