"""Test that the stand-in counts credits and videos exactly under concurrency. No sockets here."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from local.genviral.errors import Refusal
from local.genviral.model_list import MODELS
from local.genviral.render import Clip
from local.genviral.render_queue import Rendering, RenderQueue
from local.genviral.vendor_state import KEYS, VendorState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = MODELS["bytedance/seedance-2.0"]


def long_clip(prompt: str) -> Clip:
    return Clip((320, 180), seconds=60, fps=60, sound=False, prompt=prompt, caption="test", picture=None)


class Hesitant(RenderQueue):
    """Lets other threads run between the check of the balance and the charge."""

    def request(self, clip: Clip) -> Rendering:
        time.sleep(0.002)
        return super().request(clip)


@pytest.fixture
def render_queue(tmp_path: Path) -> Iterator[RenderQueue]:
    render_queue = Hesitant(tmp_path, capacity=1)
    yield render_queue
    render_queue.close()


@pytest.mark.parametrize(("honour", "keys"), [(False, ["job"] * 50), (True, [f"job-{n // 5}" for n in range(50)])])
def test_threads_that_meet_never_overdraw_an_account(render_queue: RenderQueue, honour: bool, keys: list[str]) -> None:
    state = VendorState(render_queue, generation_seconds=0, honour_idempotency=honour)
    account = state.authenticate(f"Bearer {KEYS['valid']}")
    state.set_credits(account, 10 * MODEL.cost)

    def post(key: str) -> str:
        try:
            return state.accept(account, MODEL, long_clip("the same"), key).video_id
        except Refusal as raised:
            return str(raised.error_code)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, keys))

    assert (account.credits, account.spent) == (0, 10 * MODEL.cost)
    assert len(set(answers) - {"insufficient_credits"}) == 10
    assert answers.count("insufficient_credits") == (0 if honour else 40)
    assert render_queue.count() == 1


def test_a_full_queue_is_a_429_and_costs_nothing(render_queue: RenderQueue) -> None:
    state = VendorState(render_queue, generation_seconds=0, honour_idempotency=False)
    account = state.authenticate(f"Bearer {KEYS['valid']}")

    def fill_up() -> None:
        for number in range(10):
            state.accept(account, MODEL, long_clip(str(number)), None)

    with pytest.raises(Refusal, match="Too many requests"):
        fill_up()
    assert account.spent == MODEL.cost * render_queue.count() > 0
