"""A run of the fault injection, from its seed to what held."""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from moto import mock_aws

import shared.vendor
from local.genviral import GenviralStandIn
from shared import runtime
from tests.chaos.fault_injection import RECIPES, Storm, warm_up
from tests.chaos.verdict import Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEED = int(os.environ.get("CHAOS_SEED", "1"))


@contextmanager
def storm_over(
    jobs: int, only: str = "", seed: int = SEED, recipes: Iterable[str] = RECIPES, **options: Any
) -> Iterator[tuple[Storm, Verdict]]:
    logging.disable(logging.CRITICAL)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            GenviralStandIn(generation_seconds=60) as vendor,
            mock_aws(),
        ):
            warm_up(vendor, recipes)
            storm = Storm(patch, vendor, seed=seed, jobs=jobs, only=only, **options)
            yield storm, judge(storm, *storm.run())
    finally:
        logging.disable(logging.NOTSET)
        runtime.client.cache_clear()
        shared.vendor.genviral.cache_clear()
