"""Keep the vendor's state: accounts, credits, paid submissions, videos."""

from __future__ import annotations

import datetime
import queue
import threading
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from local.genviral import errors

if TYPE_CHECKING:
    from local.genviral.model_list import Model
    from local.genviral.render import Clip
    from local.genviral.render_queue import Rendering, RenderQueue

OPENING_CREDITS = 1_000

KEYS = {
    "valid": "standin-valid.not-a-secret",
    "revoked": "standin-revoked.not-a-secret",
    "no_plan": "standin-no-plan.not-a-secret",
    "scheduler": "standin-scheduler.not-a-secret",
    "no_credits": "standin-no-credits.not-a-secret",
}
"""Account name → API key. An account has the name of its initial state."""


class AccountState(StrEnum):
    VALID = "valid"
    REVOKED = "revoked"
    NO_PLAN = "no_plan"
    SCHEDULER = "scheduler"
    NO_CREDITS = "no_credits"


@dataclass
class Account:
    name: str
    state: AccountState
    credits: int
    spent: int = 0

    def enter(self, state: AccountState) -> None:
        """Change the state. `no_credits` empties the balance; `valid` fills an empty one."""
        if state is AccountState.NO_CREDITS:
            self.credits = 0
        elif state is AccountState.VALID and not self.credits:
            self.credits = OPENING_CREDITS
        self.state = state

    def top_up(self, amount: int) -> None:
        """Set the balance. More than 0 ends `no_credits`."""
        self.credits = amount
        if amount and self.state is AccountState.NO_CREDITS:
            self.state = AccountState.VALID


@dataclass(frozen=True)
class Video:
    """One accepted, paid generation.

    Attributes:
        ready_at: Earliest end, in monotonic seconds.
        rendering: None if the model always fails.
    """

    video_id: str
    owner: str
    model: Model
    idempotency_key: str | None
    submitted_at: str
    ready_at: float
    rendering: Rendering | None

    def document(self) -> dict[str, Any]:
        """Return the data for the response to the submission."""
        return {
            "video_id": self.video_id,
            "prediction_id": f"pred_{self.video_id[:8]}",
            "provider": "fal",
            "model_id": self.model.model_id,
            "status": "processing",
            "output_url": None,
            "credits_used": self.model.cost,
        }

    def submission(self) -> dict[str, Any]:
        """Return the record of the submission."""
        return {
            "video_id": self.video_id,
            "key": self.owner,
            "idempotency_key": self.idempotency_key,
            "cost": self.model.cost,
            "model_id": self.model.model_id,
            "at": self.submitted_at,
        }

    def status(self) -> str:
        """Return the current status: `processing`, `succeeded` or `failed`."""
        if time.monotonic() < self.ready_at:
            return "processing"
        if self.rendering is None:
            return "failed"
        if not self.rendering.finished.is_set():
            return "processing"
        return "succeeded" if self.rendering.usable else "failed"


class VendorState:
    """All mutable state behind one lock, so that credits are counted exactly.

    Args:
        generation_seconds: Seconds from acceptance to the end of a generation; applies to later submissions.
        honour_idempotency: Whether a repeated `Idempotency-Key` replays the first answer instead of charging again.
    """

    def __init__(self, render_queue: RenderQueue, *, generation_seconds: float, honour_idempotency: bool) -> None:
        self.generation_seconds = generation_seconds
        self._honour_idempotency = honour_idempotency
        self._render_queue = render_queue
        self._lock = threading.Lock()
        self._accounts = {
            name: Account(name, AccountState(name), 0 if name == AccountState.NO_CREDITS else OPENING_CREDITS)
            for name in KEYS
        }
        self._videos: dict[str, Video] = {}
        self._first_by_key: dict[tuple[str, str], Video] = {}

    def authenticate(self, authorization: str) -> Account:
        """Return the account of an `Authorization` header, if its plan includes the Partner API.

        Raises:
            Refusal: 401, 402 `subscription_required` or 403 `tier_not_allowed`.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise errors.key_missing()
        name = next((name for name, key in KEYS.items() if key == token.strip()), None)
        if name is None:
            raise errors.key_unknown()
        account = self._accounts[name]
        if account.state is AccountState.REVOKED:
            raise errors.key_revoked()
        if account.state is AccountState.NO_PLAN:
            raise errors.subscription_required()
        if account.state is AccountState.SCHEDULER:
            raise errors.tier_not_allowed()
        return account

    def account(self, name: str) -> Account | None:
        return self._accounts.get(name)

    def replay(self, account: Account, idempotency_key: str | None) -> Video | None:
        """Return the video that this key already paid for, if the stand-in honours such keys."""
        if not self._honour_idempotency or idempotency_key is None:
            return None
        return self._first_by_key.get((account.name, idempotency_key))

    def accept(self, account: Account, model: Model, clip: Clip, idempotency_key: str | None) -> Video:
        """Charge the credits and start the generation, both or neither.

        Raises:
            Refusal: 403 `insufficient_credits`, or 429 if too many videos wait.
        """
        with self._lock:
            if (first := self.replay(account, idempotency_key)) is not None:
                return first
            if account.credits < model.cost:
                raise errors.insufficient_credits()
            try:
                rendering = None if model.fails else self._render_queue.request(clip)
            except queue.Full:
                raise errors.rate_limited() from None
            account.credits -= model.cost
            account.spent += model.cost
            video = Video(
                video_id=str(uuid.uuid4()),
                owner=account.name,
                model=model,
                idempotency_key=idempotency_key,
                submitted_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
                ready_at=time.monotonic() + self.generation_seconds * model.slowness,
                rendering=rendering,
            )
            self._videos[video.video_id] = video
            if idempotency_key is not None:
                self._first_by_key.setdefault((account.name, idempotency_key), video)
            return video

    def video(self, video_id: str) -> Video | None:
        return self._videos.get(video_id)

    def set_credits(self, account: Account, amount: int) -> None:
        with self._lock:
            account.top_up(amount)

    def set_state(self, account: Account, state: AccountState) -> None:
        with self._lock:
            account.enter(state)

    def document(self) -> dict[str, Any]:
        """Return the state as data, for tests and demos."""
        with self._lock:
            return {
                "accounts": {
                    account.name: {"state": account.state, "credits": account.credits, "spent": account.spent}
                    for account in self._accounts.values()
                },
                "submissions": [video.submission() for video in self._videos.values()],
                "videos": self._render_queue.count(),
                "settings": {
                    "generation_seconds": self.generation_seconds,
                    "honour_idempotency": self._honour_idempotency,
                },
            }
