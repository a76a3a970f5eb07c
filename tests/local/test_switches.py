"""Test the switches of the stand-in for Genviral: each is accepted, does what it says, and `normal` ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from local import switches
from local.__main__ import main
from local.genviral import GenviralStandIn
from local.genviral.vendor_state import KEYS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BODY = {"model_id": "bytedance/seedance-2.0", "prompt": "A boat", "params": {"duration_seconds": 1}}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[GenviralStandIn]:
    with GenviralStandIn(generation_seconds=0.1) as stand_in:
        monkeypatch.setenv(switches.ADMIN_URL, stand_in.admin_url)
        yield stand_in


def paid_call(stand_in: GenviralStandIn) -> int | None:
    """Return the status of a paid call; None where its answer is lost."""
    key = {"Authorization": f"Bearer {KEYS['valid']}"}
    try:
        return httpx.post(f"{stand_in.url}/studio/videos/generate", json=BODY, headers=key).status_code
    except httpx.HTTPError:
        return None


EFFECTS = {
    "no-credits": 403,
    "no-plan": 402,
    "revoked": 401,
    "slow": 202,
    "failing": 502,
    "busy": 429,
    "lost-answer": None,
    "broken-video": 202,
    "normal": 202,
}


@pytest.mark.parametrize("name", switches.SWITCHES)
def test_a_switch_does_what_it_says_and_normal_ends_it(
    stand_in: GenviralStandIn, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["vendor", name]) == 0
    assert paid_call(stand_in) == EFFECTS[name]
    assert main(["vendor", "normal"]) == 0
    assert "Planned faults" not in capsys.readouterr().out.splitlines()[-1]
    assert paid_call(stand_in) == 202


@pytest.mark.parametrize("name", sorted(set(EFFECTS) - {"slow"}))
def test_a_switch_ends_what_the_one_before_planned(stand_in: GenviralStandIn, name: str) -> None:
    for earlier in ("failing", "no-credits", "lost-answer"):
        assert main(["vendor", earlier]) == 0
    assert main(["vendor", name]) == 0
    assert paid_call(stand_in) == EFFECTS[name]


def test_without_a_cloud_it_says_how_to_start_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(switches.ADMIN_URL, raising=False)
    monkeypatch.setattr(switches, "ENV_FILE", tmp_path / "none")
    assert main(["vendor"]) == 5
    assert "Start it with `up`" in capsys.readouterr().err
    assert main(["vendor", "nonsense"]) == 2
