"""Measure one sweep over many open jobs that are alive: `make bench-sweep`, on moto, in process, without sockets.

Counts the calls to AWS, which the quotas limit, and fails if there are too many to Step Functions. The time is only
measured, because moto takes most of it: it reads its whole table for each page. Knows how to count calls;
`tests.support.sweeps` makes the jobs and the executions.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from typing import Any

from moto import mock_aws

from tests.support.fakes import TABLE, World
from tests.support.operators import with_index
from tests.support.sweeps import paid_items, start, sweeper

MOST_CALLS = 60
_BATCH = 25  # https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchWriteItem.html


def open_jobs(world: World, count: int) -> None:
    """Create paid jobs that have not changed for a long time, each with a running execution."""
    names = [f"job-{number:06}" for number in range(count)]
    items = paid_items(names)
    for first in range(0, count, _BATCH):
        batch: Any = [{"PutRequest": {"Item": item}} for item in items[first : first + _BATCH]]
        world.dynamodb.batch_write_item(RequestItems={TABLE: batch})
    start(world, names)


def measure(world: World) -> tuple[dict[str, int], Counter[str], tuple[float, float]]:
    """Run one sweep. Returns its result, its calls, and its seconds of wall and processor time."""
    calls: Counter[str] = Counter()
    for client in (world.dynamodb, world.sfn):
        client.meta.events.register("before-call", lambda model, **_: calls.update([model.name]))
    began, busy = time.monotonic(), time.process_time()
    return sweeper(world, quiet_seconds=300).sweep(), calls, (time.monotonic() - began, time.process_time() - busy)


def main() -> int:
    """Print the result of one sweep. Returns exit status 1 if it made too many calls to Step Functions."""
    parser = argparse.ArgumentParser(prog="benchmarks.sweep", description="One sweep over many jobs that are alive.")
    parser.add_argument("--jobs", type=int, default=20_000, help="how many (default: %(default)s)")
    jobs = parser.parse_args().jobs
    os.environ |= {"AWS_ACCESS_KEY_ID": "made-up", "AWS_SECRET_ACCESS_KEY": "made-up"}
    with mock_aws():
        world = World()
        with_index(world)
        open_jobs(world, jobs)
        done, calls, (seconds, busy) = measure(world)
    of_states = sum(count for name, count in calls.items() if name.endswith("Execution") or name == "ListExecutions")
    print(f"{jobs:,} open jobs, all alive; on moto, in {seconds:.0f} s ({busy:.0f} s of a processor): {done}")
    print("Calls: " + ", ".join(f"{count} {name}" for name, count in sorted(calls.items())))
    print(f"Calls to Step Functions: {of_states}, at most {MOST_CALLS} allowed")
    return int(of_states > MOST_CALLS)


if __name__ == "__main__":
    sys.exit(main())
