"""Never paid twice, never lost: a seeded storm over many jobs, and a table of what held.

`make chaos` runs the full size, `make test` a small one. CHAOS_SEED, CHAOS_JOBS and CHAOS_ONLY choose another storm,
its size, and one job of it, which then meets the same faults at the same times.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from moto import mock_aws

import shared.vendor
from local.genviral import GenviralStandIn
from shared import runtime
from tests.chaos.storm import Storm, warm_up
from tests.chaos.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = int(os.environ.get("CHAOS_SEED", "1"))
JOBS = int(os.environ.get("CHAOS_JOBS", "60"))
ONLY = os.environ.get("CHAOS_ONLY", "")


@contextmanager
def storm_over(jobs: int, only: str = "", seed: int = SEED) -> Iterator[tuple[Storm, Verdict]]:
    logging.disable(logging.CRITICAL)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            GenviralStandIn(generation_seconds=60) as vendor,
            mock_aws(),
        ):
            warm_up(vendor)
            storm = Storm(patch, vendor, seed=seed, jobs=jobs, only=only)
            yield storm, judge(storm, *storm.run())
    finally:
        logging.disable(logging.NOTSET)
        runtime.client.cache_clear()
        shared.vendor.genviral.cache_clear()


def test_no_job_is_paid_twice_and_no_video_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    with storm_over(JOBS, ONLY) as (_, verdict):
        with capsys.disabled():
            print(f"\n{verdict.table()}")
        if verdict.breaches:
            pytest.fail(verdict.failures(), pytrace=False)


def test_the_same_seed_brings_the_same_storm() -> None:
    with storm_over(6) as (first, verdict):
        facts, faults = verdict.facts, verdict.faults()
        histories = {order.name: order.history for order in first.orders}
    with storm_over(6) as (_, again):
        assert (again.facts, again.faults()) == (facts, faults)
    alone = max(histories, key=lambda name: len(histories[name]))
    with storm_over(6, only=alone) as (replay, _):
        assert replay.orders[0].history == histories[alone]
