"""Run a thousand jobs at once on one machine: `make bench-scale`. None may be lost, paid twice or notified twice.

Runs the whole system in the local cloud, with real waits. Jobs are requested over the HTTP API at a steady rate, and
generations take so long that all jobs are in flight before the first is finished. Knows the system from outside (API,
table, queue, the vendor's ledger) and, from `benchmarks.counting`, how long invocations take.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.cost import counted_cloud, step_of, teach
from shared.polling.durations import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.cloud import Cloud

# Small, because a laptop keeps a thousand of them.
REQUEST: dict[str, Any] = {
    "model_id": "bytedance/seedance-2.0",
    "prompt": "A paper boat on a calm lake",
    "params": {"duration_seconds": 1, "fps": 8},
}
PARAMETERS = {"PollFloorSeconds": "2", "PollCapSeconds": "600"}
TIMEOUT_SECONDS = 600
TERMINAL = ("succeeded", "failed", "uncertain", "timed_out", "canceled")


class Inbox(threading.Thread):
    """Reads a subscribed queue until it is stopped."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(daemon=True)
        self._sqs = cloud.client("sqs")
        self._url = self._sqs.create_queue(QueueName="scale")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        cloud.client("sns").subscribe(
            TopicArn=cloud.endpoints.topic_arn,
            Protocol="sqs",
            Endpoint=arn,
            Attributes={"RawMessageDelivery": "true"},
        )
        self.heard: list[dict[str, Any]] = []
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            answer = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=1)
            for message in answer.get("Messages", []):
                self.heard.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])


class Gauge(threading.Thread):
    """The peak memory of all processes below this one, in bytes, and the peak number of jobs in flight."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        super().__init__(daemon=True)
        self._in_flight = in_flight
        self.memory, self.processes, self.jobs = 0, 0, 0
        self.done = threading.Event()

    def run(self) -> None:
        while not self.done.wait(5):
            sizes = _memory()
            self.memory = max(self.memory, sum(sizes))
            self.processes = max(self.processes, len(sizes))
            self.jobs = max(self.jobs, self._in_flight())


def _memory() -> list[int]:
    """Return the private memory (PSS) of each process below this one, in bytes."""
    parents: dict[int, list[int]] = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.read_text().rpartition(")")[2].split()[1])].append(int(status.parent.name))
        except OSError:
            continue  # it has just ended
    below, found = [os.getpid()], []
    while below:
        process = below.pop()
        below += parents[process]
        try:
            rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        found.append(next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) * 1024)
    return found


def _ask(cloud: Cloud, api: httpx.Client, number: int) -> str:
    answer = api.post(f"{cloud.endpoints.api_url}/videos", json=REQUEST, headers={"idempotency-key": f"scale-{number}"})
    answer.raise_for_status()
    job_id: str = answer.json()["job_id"]
    return job_id


def _start(cloud: Cloud, jobs: int, rate: float) -> list[str]:
    """Request the jobs at a steady rate, with four callers."""
    began = time.monotonic()
    with httpx.Client(timeout=60) as api, concurrent.futures.ThreadPoolExecutor(4) as callers:

        def ask(number: int) -> str:
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            return _ask(cloud, api, number)

        return list(callers.map(ask, range(jobs)))


def _statuses(cloud: Cloud) -> Counter[str]:
    """Count the jobs in each status in the table."""
    pages = (
        cloud.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=cloud.endpoints.jobs_table,
            ProjectionExpression="#status",
            ExpressionAttributeNames={"#status": "status"},
        )
    )
    return Counter(item["status"]["S"] for page in pages for item in page["Items"] if "status" in item)


def _ledger(cloud: Cloud) -> list[dict[str, Any]]:
    """Return every submission that the vendor charged for."""
    submissions: list[dict[str, Any]] = _admin(cloud, "GET", "state")["submissions"]
    return submissions


def _admin(cloud: Cloud, method: str, what: str, body: object = None) -> dict[str, Any]:
    url = f"{cloud.endpoints.genviral_admin_url}/_standin/{what}".replace("/_standin/_standin/", "/_standin/")
    answer = httpx.request(method, url, json=body, timeout=60)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def run(jobs: int, rate: float, generation_seconds: float) -> bool:
    """Run all jobs and print the results. Returns whether nothing was lost or done twice."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        counts.touch()
        with counted_cloud(counts, PARAMETERS, generation_seconds) as cloud:
            _admin(cloud, "POST", "credits", {"key": "valid", "credits": 100 * jobs})
            teach(cloud, kind_of(REQUEST["model_id"], REQUEST), generation_seconds)
            inbox = Inbox(cloud)
            gauge = Gauge(lambda: sum(count for name, count in _statuses(cloud).items() if name not in TERMINAL))
            inbox.start()
            gauge.start()
            began = time.monotonic()
            _start(cloud, jobs, rate)
            started = time.monotonic() - began
            ended = _wait_for(cloud, inbox, jobs, began)
            inbox.done.set()
            gauge.done.set()
            inbox.join(10)
            gauge.join(30)
            statuses, ledger = _statuses(cloud), _ledger(cloud)
        facts = [json.loads(line) for line in counts.read_text().splitlines()]
    keys = {paid["idempotency_key"] for paid in ledger}
    heard = {(message["job_id"], message["status"]) for message in inbox.heard}
    print(f"| {jobs} jobs, {rate:g} a second asked for, each {generation_seconds:g} s | |\n|---|---|")
    print(f"| taken in | {jobs / started:.1f} jobs/s |")
    print(f"| in flight at once, at most | {gauge.jobs} |")
    print(f"| from the first request to the last notification | {ended:.0f} s |")
    print(f"| states | {dict(statuses)} |")
    print(f"| notifications (different ones) | {len(inbox.heard)} ({len(heard)}) |")
    print(f"| paid POSTs (different jobs) | {len(ledger)} ({len(keys)}) |")
    print(f"| memory of all processes, at most | {gauge.memory / 2**20:.0f} MiB in {gauge.processes} processes |")
    print("\n| step | invocations | of them cold | p50 | p95 |\n|---|---|---|---|---|")
    for step, seen in sorted(_invocations(facts).items()):
        seconds = sorted(fact["seconds"] for fact in seen)
        cold = sum(fact["cold"] for fact in seen)
        p50, p95 = statistics.median(seconds), seconds[int(len(seconds) * 0.95)]
        print(f"| {step} | {len(seen)} | {cold} | {p50 * 1000:.0f} ms | {p95 * 1000:.0f} ms |")
    return (
        statuses == Counter({"succeeded": jobs})
        and len(inbox.heard) == len(heard) == jobs
        and len(ledger) == len(keys) == jobs
    )


def _wait_for(cloud: Cloud, inbox: Inbox, jobs: int, began: float) -> float:
    """Wait until every job is notified. Returns the time of that, in seconds since the first request."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while time.monotonic() < end and len(inbox.heard) < jobs:
        time.sleep(1)
    ended = time.monotonic() - began
    time.sleep(5)  # for notifications that should not come
    return ended


def _invocations(facts: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    steps: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for fact in facts:
        if fact["service"] == "lambda":
            steps[step_of(fact["function"])].append(fact)
    return steps


def main() -> None:
    """Run the command line. Exit 1 if something was lost or done twice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=2.5, help="jobs a second")
    parser.add_argument("--generation-seconds", type=float, default=420)
    options = parser.parse_args()
    sys.exit(not run(options.jobs, options.rate, options.generation_seconds))


if __name__ == "__main__":
    main()
