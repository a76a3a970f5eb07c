"""Run the fault injection for a seed and check it."""

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
from tests.chaos.fault_injection import RECIPES, FaultInjection, warm_up
from tests.chaos.report import Report, report_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEED = int(os.environ.get("CHAOS_SEED", "1"))


@contextmanager
def inject_faults(
    jobs: int, only: str = "", seed: int = SEED, recipes: Iterable[str] = RECIPES, **options: Any
) -> Iterator[tuple[FaultInjection, Report]]:
    logging.disable(logging.CRITICAL)
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            GenviralStandIn(generation_seconds=60) as vendor,
            mock_aws(),
        ):
            warm_up(vendor, recipes)
            run = FaultInjection(patch, vendor, seed=seed, jobs=jobs, only=only, **options)
            yield run, report_on(run, *run.run())
    finally:
        logging.disable(logging.NOTSET)
        runtime.client.cache_clear()
        shared.vendor.genviral.cache_clear()
