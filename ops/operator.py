"""What a person may do with a job that the system does not do automatically.

Every change is one conditional write first and an execution second. The write names the execution that follows, so a
command that was cut off between the two is finished by its repeat, or by the sweep. Knows the store, Step Functions and
the names of executions; must not know the command line.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from botocore.exceptions import BotoCoreError, ClientError

from ops.exits import NotFound, Refused
from ops.next_step import clock_time, instead, may_be_sending
from shared.executions import Executions, Redriven, describing, ended_at, is_live
from shared.genviral.errors import GenviralFault, VideoNotFound
from shared.genviral.ids import is_video_id
from shared.jobs import identity
from shared.jobs.record import MAY_BE_PAID
from shared.jobs.redrives import was_overtaken
from shared.jobs.states import OPEN, STATES, Status
from shared.jobs.transitions import TransitionConflict, VideoTaken

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mypy_boto3_stepfunctions import SFNClient

    from shared.genviral.client import Video
    from shared.jobs.queries import Owner
    from shared.jobs.record import Fields, Job, Removable
    from shared.jobs.transitions import JobStore

_ATTACHABLE, _RESUBMITTABLE = (
    tuple(status for status, state in STATES.items() if command in state.commands) for command in ("attach", "resubmit")
)
# Those that wait for a person come first.
_LISTED = sorted((status for status in Status if STATES[status].list_order), key=lambda one: STATES[one].list_order)

_NEW = (
    "Ask for a new job with fresh links, through the API with another Idempotency-Key. If this one may be paid for, "
    "search for its video at Genviral first, and attach that: a new job is paid for once more."
)


def _agree(_: Job) -> None:
    """The caller has decided already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Act on jobs.

    Args:
        deadline_seconds: How long a job that is attached may take from now, in seconds.
        ask: Asks the vendor for a video. What it raises says that the vendor does not know it, or cannot be asked.
    """

    store: JobStore
    sfn: SFNClient
    state_machine_arn: str
    deadline_seconds: int
    ask: Callable[[str], Video | None]

    def list(self, status: Status | None) -> Iterator[Job]:
        """The jobs of one status; without one, those that wait for a person, then the open ones. Oldest change first.

        Requests and errors are left out.
        """
        for name in [status] if status else [*_LISTED, *sorted(OPEN - set(_LISTED))]:
            yield from self.store.in_status(name)

    def show(self, job_id: str) -> tuple[Job, dict[str, Any] | None]:
        """A job, and its execution as Step Functions describes it, if that exists.

        Raises:
            Refused: There is no such job.
        """
        job = self._job(job_id)
        return job, self._execution(job)

    def attach(self, job_id: str, video_id: str | None = None, *, replace: bool = False, force: bool = False) -> str:
        """Go on with a video that the vendor has: poll and deliver it. Pays nothing.

        The vendor is asked for the video before anything is written, and the table for another job that has it.

        Args:
            video_id: The vendor's id of the video. None: the one that the record names.
            replace: Whether it may take the place of another video on the record (an id that was mistyped before),
                also while that one is still being looked for. A further video that the record has needs no such leave.
            force: Whether nobody is asked: the vendor may not know the video, and another job may have it.

        Returns:
            The ARN of the execution that goes on.

        Raises:
            Refused: The job is in no state for it, or has another video; the vendor does not know the video or cannot
                be asked; or another job has it.
        """
        job = self._job(job_id)
        video_id = _named(job, video_id)
        has_another = job.video_id not in (None, video_id)
        is_known = video_id in job.other_videos
        if has_another and not (replace or is_known):
            raise Refused(f"The job has another video: {job.video_id}. Attach that one, or add --replace.")
        if place := job.other_videos.get(video_id, {}).get("output"):
            raise Refused(f"That video is in the bucket already: s3://{place['bucket']}/{place['key']}.")
        execution = self._execution(job)
        if job.status is Status.PROCESSING and job.video_id == video_id and execution is None:
            return self._start(job.job_id, self._executions.arn_of(job))
        follows_another = job.status is Status.PROCESSING and has_another
        if not follows_another:
            _require(job, (*_ATTACHABLE, Status.SUCCEEDED) if is_known else _ATTACHABLE)
        closed_but_running = is_live(execution) and not follows_another
        if closed_but_running and not job.is_terminal:
            raise Refused("The job's execution is running again. Wait for its end, or cancel the job first.")
        if not force and (written := self._known_as(video_id)) != video_id:
            return self.attach(job_id, written, replace=replace)
        owner = None if force else self._free(job, video_id)
        if closed_but_running:
            # It has nothing left to do: its job has ended.
            self._stop(job)
        now = int(time.time())
        facts, obsolete = _exchange(job, video_id) if has_another else ({}, ())
        others = _others(job, video_id)
        for name in (others.keys() - job.other_videos.keys()) | ({video_id} if force else set()):
            # An id that only a person gave may be another job's.
            self.store.note_owner(name, job.job_id, displace=_is_of_an_answer(job, name))
        changes: Fields = {
            "video_id": video_id,
            "attached_id": None if _is_of_an_answer(job, video_id) else video_id,
            "other_videos": None if others == job.other_videos else others,
            "submitted_at": job.submitted_at or now,
            "deadline_at": now + self.deadline_seconds,
            **facts,
        }
        remove: tuple[Removable, ...] = ("claim", "counted", "error", "possible_video_id", *obsolete)
        arn = self._take_up(job, Status.PROCESSING, owner=owner, remove=remove, **changes)
        if is_live(execution) and follows_another:
            # Only now: its end is not the job's any more, so nobody is notified of an interruption. If this is cut off,
            # it ends automatically, and delivers nothing: the job has another video.
            self._stop(job)
        return arn

    def _known_as(self, video_id: str) -> str:
        """The id as the vendor writes it, of a video that it knows and that has not failed.

        Raises:
            Refused: It is no such video, or the vendor cannot be asked.
        """
        try:
            video = self.ask(video_id)
        except VideoNotFound:
            raise Refused(
                f"Genviral does not know the video {video_id}. Is the id right, and does the stack's API key belong to "
                "the workspace that started it? Nothing was changed. Attach it all the same with --force."
            ) from None
        except GenviralFault as fault:
            raise Refused(
                f"{fault.message} So nobody knows whether the video exists, and nothing was changed. Try again, or "
                "attach it without asking, with --force."
            ) from None
        if video is not None and video.status == "failed":
            raise Refused(
                f"Genviral says that the video {video_id} failed, so there is nothing to fetch. Nothing was changed. "
                "Attach it all the same with --force: the job then ends with Genviral's reason."
            )
        return video_id if video is None else video.video_id

    def _free(self, job: Job, video_id: str) -> Owner:
        """Whose a video is that no other job has: nobody's, this job's, or that of a job which has lost it.

        Raises:
            Refused: Another job has it.
        """
        # Read this first: whoever takes the video afterwards changes it.
        owner = self.store.read_owner(video_id)
        for other_id in (*self.store.with_video(video_id), *([owner.job_id] if owner.job_id else ())):
            other = self.store.get(other_id) if other_id != job.job_id else None
            if other is not None and _has(other, video_id):
                raise Refused(
                    f"The job {other_id} has this video; it is {other.status}. Nothing was changed. Attach it to both "
                    "with --force."
                )
        return owner

    def resubmit(self, job_id: str, approve: Callable[[Job], None] = _agree) -> str:
        """Send the paid call once more, on purpose. May pay a second time.

        Args:
            approve: Sees the job that the decision is about, and raises `Refused` to leave it alone. If the job
                changes meanwhile, nothing is sent.

        Returns:
            The ARN of the execution that goes on.

        Raises:
            Refused: The job is in no state for it, has a video, or an answer named one that Genviral knows; or its
                links open nothing any more.
        """
        job = self._job(job_id)
        if job.video_id is not None:
            raise Refused(f"The job is paid for: its video is {job.video_id}. {instead(job)}")
        if job.status is Status.QUEUED and job.resubmissions and self._execution(job) is None:
            approve(job)
            return self._start(job.job_id, self._executions.arn_of(job))
        if may_be_sending(job) and (not job.is_terminal or job.status in _RESUBMITTABLE):
            raise Refused(
                "The paid call of this job may still be under way, and would be paid a second time. Resubmit it from "
                f"{clock_time(job.attempt_runs_until)} UTC on, unless a video has come by then."
            )
        _require(job, _RESUBMITTABLE)
        self._require_no_named_video(job)
        if job.links_stripped:
            raise Refused(
                f"What opens the links in its request was removed when it ended, so it cannot be sent again. {_NEW}"
            )
        approve(job)
        if job.known_video is not None:
            self.store.note_owner(job.known_video, job.job_id)
        return self._take_up(
            job,
            Status.QUEUED,
            remove=("claim", "counted", "error"),
            resubmissions=job.resubmissions + 1,
            possible_video_id=job.known_video,  # it may be in the error only, which is removed
        )

    def _require_no_named_video(self, job: Job) -> None:
        """Refuse to pay again where an answer named a video, Genviral knows it, and it is still to be had."""
        for video_id in job.named_videos:
            try:
                video = self.ask(video_id)
            except VideoNotFound:
                continue
            except GenviralFault as fault:
                raise Refused(
                    f"{fault.message} So nobody knows whether the video {video_id} exists, which an answer named for "
                    "this job. Nothing was sent. Try again."
                ) from None
            if video is None or video.status != "failed":
                raise Refused(
                    f"An answer named the video {video_id} for this job, and Genviral knows it. Nothing was sent. "
                    f"Use: attach {job.job_id} {video_id}"
                )

    def redrive(self, job_id: str, approve: Callable[[Job], None] = _agree) -> str:
        """Resume a job whose execution is dead, at the state that failed.

        A job that is paid for, or may be, is never sent again. One that is not yet is now sent, once.

        Args:
            approve: Asked before a job goes on that has no video yet; raises `Refused` to leave it alone.

        Returns:
            The ARN of the execution that goes on: the same one, or a later one where that cannot be redriven any more.

        Raises:
            Refused: The job has ended, or its execution is alive.
        """
        job = self._job(job_id)
        if job.is_terminal:
            raise Refused(f"The job is {job.status}; only one that was interrupted can be redriven. {instead(job)}")
        execution = self._execution(job)
        if is_live(execution):
            raise Refused("The job's execution is running; there is nothing to redrive.")
        if job.video_id is None:
            # Also where its call may have been paid for: its attempt may be refused and give the claim back meanwhile.
            approve(job)
        arn = self._executions.arn_of(job)
        if execution is None:
            return self._start(job.job_id, arn)
        # Also where two attempts brought two videos, and this execution follows the one that the record does not have.
        is_overtaken = was_overtaken(job, execution.get("error"))
        redriven = Redriven.IMPOSSIBLE if is_overtaken else self._resumed(job, execution)
        if redriven is Redriven.RUNS_ALREADY:
            raise Refused("The job's execution runs again already; there is nothing to redrive.")
        if redriven is Redriven.RESUMED:
            return arn
        # The claim stays: a call of unknown end ends as uncertain, and is not repeated.
        target = Status.SUBMITTING if job.video_id is None else Status.PROCESSING
        return self._take_up(job, target)

    def _resumed(self, job: Job, execution: dict[str, Any]) -> Redriven:
        """Redrive an execution. Its video gets a new deadline, and what fails next is a new interruption."""
        now = int(time.time())
        later = max(job.deadline_at or 0, now + self.deadline_seconds) if job.video_id is not None else None
        # News of the end that this redrive is about may still be under way.
        self.store.update(job.job_id, deadline_at=later, interrupted_at=ended_at(execution) or None)
        redriven = self._executions.redrive(self._executions.arn_of(job))
        # Where it runs already, the answer to an earlier redrive may have been lost.
        if redriven is not Redriven.IMPOSSIBLE:
            self.store.end_outage(job.job_id)
        return redriven

    def interrupted(self, error: str | None) -> Iterator[Job]:
        """The interrupted jobs, those longest unchanged first.

        Args:
            error: Only those with this error, by its name or its code.
        """
        for found in self.store.in_status(Status.INTERRUPTED):
            job = self.store.get(found.job_id)
            if job is not None and job.status is Status.INTERRUPTED and error in (None, *_names_of(job)):
                yield job

    def redrive_all(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, str | None]]:
        """Redrive jobs, each as `redrive` does.

        Yields:
            Each job, and why it was left alone; None where it goes on.
        """
        pace = describing()
        for job in jobs:
            pace.wait()
            try:
                self.redrive(job.job_id)
            except Refused as refused:
                yield job, str(refused)
            except (ClientError, BotoCoreError) as error:
                yield job, f"AWS refused or did not answer: {error}. Redrive it again."
            else:
                yield job, None

    def cancel(self, job_id: str) -> Job:
        """Stop following a job. The vendor knows no cancel: a paid video goes on there, and `attach` finds it again.

        Raises:
            Refused: The job has ended otherwise.
        """
        job = self._job(job_id)
        if job.status is not Status.CANCELED:
            try:
                # The end of the execution makes the notification go out.
                job = self.store.cancel(job.job_id, job.execution)
            except TransitionConflict as refused:
                raise Refused(f"The job is {refused.found}; there is nothing to cancel.") from None
        self.store.strip_links(job)
        if is_live(self._execution(job)):
            self._stop(job)
        return job

    def _take_up(
        self,
        job: Job,
        target: Status,
        *,
        remove: tuple[Removable, ...] = (),
        owner: Owner | None = None,
        **attributes: Unpack[Fields],
    ) -> str:
        """Give the job as it was seen a new status, a later execution and perhaps a video, and start the execution."""
        arn = self._executions.later(job.job_id)
        if arn is None:
            raise Refused("The job was taken up too often. Ask for a new one.")
        attributes["command"] = uuid.uuid4().hex
        try:
            self.store.take_up(job, target, arn, owner=owner, remove=remove, **attributes)
        except VideoTaken:
            if owner is not None:
                self._free(job, owner.video_id)  # names the job that has it now
            raise Refused("The video was attached in the same moment. Nothing was changed. Try again.") from None
        except TransitionConflict as refused:
            # botocore repeats a write whose answer was lost; the first one may have been this very command's.
            if refused.current is None or refused.current.command != attributes["command"]:
                raise Refused(f"The job has changed meanwhile; it is {refused.found}. Show it again.") from None
        return self._start(job.job_id, arn)

    def _start(self, job_id: str, arn: str) -> str:
        # Where it exists, the sweep or this command has started it before it was cut off.
        self._executions.start(arn, {"job_id": job_id})
        return arn

    def _stop(self, job: Job) -> None:
        self._executions.stop(self._executions.arn_of(job), cause=f"An operator closed it: the job is {job.status}.")

    def _job(self, job_id: str) -> Job:
        # An execution's name or ARN will do: that is what the console shows.
        job = self.store.get(identity.of_execution(job_id))
        if job is None:
            raise NotFound(f"There is no job {job_id}, or its record has expired.")
        return job

    def _execution(self, job: Job) -> dict[str, Any] | None:
        return self._executions.describe(self._executions.arn_of(job))

    @property
    def _executions(self) -> Executions:
        return Executions(sfn=self.sfn, state_machine_arn=self.state_machine_arn)


def _has(job: Job, video_id: str) -> bool:
    """Whether a video is the job's, or one more that was or may be paid for it. An id attached by mistake is not."""
    return job.video_id == video_id or _is_of_an_answer(job, video_id)


def _is_of_an_answer(job: Job, video_id: str) -> bool:
    """Whether an answer of Genviral's named this video for the job, and not only a person."""
    facts = job.other_videos.get(video_id, {})
    accepted = job.video_id == video_id and job.attached_id != video_id
    return accepted or video_id in job.named_videos or "submitted_at" in facts


def _others(job: Job, video_id: str) -> dict[str, dict[str, Any]]:
    """The job's further videos once this one is its own. No id is forgotten."""
    others = dict(job.other_videos)
    if job.video_id is not None:
        others[job.video_id] = _facts_of_its_own(job)
    named = job.known_video if job.video_id is None else job.possible_video_id
    if named is not None:
        others.setdefault(named, dict(MAY_BE_PAID))
    return {name: facts for name, facts in others.items() if name != video_id}


def _facts_of_its_own(job: Job) -> dict[str, Any]:
    """What is known of the job's own video, for when it becomes a further one."""
    # Without credits, an id that a person gave may be a mistake that nobody paid for.
    is_paid = job.credits_used is not None or job.attached_id != job.video_id
    facts = {
        "credits_used": job.credits_used,
        "submitted_at": job.submitted_at if is_paid else None,
        "delivery": job.delivery if job.copy_began is not None else None,
        "output": job.output,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _names_of(job: Job) -> tuple[str | None, str | None]:
    """What the error of a job is called."""
    error = job.error or {}
    return error.get("error"), error.get("code")


def _require(job: Job, statuses: tuple[Status, ...]) -> None:
    if job.status not in statuses:
        raise Refused(f"The job is {job.status}; this is for jobs that are {', '.join(statuses)}.")


def _named(job: Job, video_id: str | None) -> str:
    """The video to attach: the one that was named, or else the one that the record names.

    Raises:
        Refused: There is none, or it is no id.
    """
    chosen = video_id if video_id is not None else job.known_video
    if chosen is None:
        raise Refused("The job names no video. Give the id; Genviral shows it in its studio.")
    if not is_video_id(chosen):
        raise Refused("That is no video id. Genviral shows it in its studio.")
    return chosen


def _exchange(job: Job, video_id: str) -> tuple[Fields, tuple[Removable, ...]]:
    """What changes on the record where a job's video and another one change places, but for its further videos.

    Returns:
        The attributes to set, and those to take away.
    """
    known = job.other_videos.get(video_id, {})
    begun = job.copy_began is not None
    used = [job.delivery]
    used += (other["delivery"] for name, other in job.other_videos.items() if name != video_id and "delivery" in other)
    facts: Fields = {
        "credits_used": known.get("credits_used"),
        "submitted_at": known.get("submitted_at", int(time.time())),
        "delivery": known.get("delivery", max(used) + 1 if begun else job.delivery),
    }
    obsolete: tuple[Removable, ...] = ("output",)
    if facts["credits_used"] is None:
        obsolete += ("credits_used",)
    if "delivery" not in known:
        obsolete += ("copy_began",)
    return facts, obsolete
