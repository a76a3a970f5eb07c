"""Measure a batch of a thousand rows on one machine, and the same file again: `make bench-batch`.

Runs the whole system in the local cloud. The first upload must account for every row and pay for each once; the
second must pay for nothing. Knows the system from outside: the uploaded file, the report, the vendor's ledger.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx

from benchmarks.scale import REQUEST, Gauge
from local.cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "batches/thousand.jsonl"
TIMEOUT_SECONDS = 1800


def _file(rows: int) -> bytes:
    """Make rows that all differ and ask for small videos, because a laptop renders a thousand of them."""
    bodies = ({**REQUEST, "prompt": f"{REQUEST['prompt']}, number {number}"} for number in range(rows))
    return b"\n".join(json.dumps(body).encode() for body in bodies)


def _admin(cloud: Cloud, method: str, what: str, body: object = None) -> dict[str, Any]:
    answer = httpx.request(method, f"{cloud.endpoints.genviral_admin_url}/{what}", json=body, timeout=60)
    answer.raise_for_status()
    document: dict[str, Any] = answer.json()
    return document


def _paid(cloud: Cloud) -> list[str]:
    """Return the job of each submission that the vendor charged for."""
    return [submission["idempotency_key"] for submission in _admin(cloud, "GET", "state")["submissions"]]


def _upload(cloud: Cloud, data: bytes) -> tuple[dict[str, Any], float]:
    """Upload the file and wait for its report. Returns the report and the time, in seconds."""
    s3, at = cloud.client("s3"), cloud.endpoints
    known = _reports(s3, at.videos_bucket)
    began = time.monotonic()
    s3.put_object(Bucket=at.uploads_bucket, Key=KEY, Body=data)
    while not (new := _reports(s3, at.videos_bucket) - known):
        if time.monotonic() > began + TIMEOUT_SECONDS:
            sys.exit("No report came.")
        time.sleep(0.2)
    seconds = time.monotonic() - began
    report: dict[str, Any] = json.loads(s3.get_object(Bucket=at.videos_bucket, Key=new.pop())["Body"].read())
    return report, seconds


def _reports(s3: Any, bucket: str) -> set[str]:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="batches/").get("Contents", [])
    return {item["Key"] for item in listed if item["Key"].endswith(".json")}


def run(rows: int, concurrency: int, time_scale: float) -> bool:
    """Upload the file twice and print the results. Returns whether all rows are accounted for and paid once."""
    parameters: Mapping[str, str] = {
        "BatchConcurrency": str(concurrency),
        "PollFloorSeconds": "1",
        "PollCapSeconds": "2",
    }
    data = _file(rows)
    with Cloud(time_scale=time_scale, parameters=parameters, generation_seconds=0.2) as cloud:
        _admin(cloud, "POST", "credits", {"key": "valid", "credits": 100 * rows})
        gauge = Gauge(lambda: 0)
        gauge.start()
        first, took = _upload(cloud, data)
        paid = _paid(cloud)
        second, again = _upload(cloud, data)
        more = len(_paid(cloud)) - len(paid)
        gauge.done.set()
        gauge.join(30)
    print(f"| {rows} rows, {concurrency} at a time, waits x {time_scale:g} | first upload | the same file again |")
    print("|---|---|---|")
    print(f"| to the report | {took:.0f} s | {again:.1f} s |")
    print(f"| rows a second | {rows / took:.2f} | {rows / again:.0f} |")
    print(f"| rows in the report | {len(first['items'])} | {len(second['items'])} |")
    print(f"| how they ended | {first['counts']} | {second['counts']} |")
    print(f"| paid POSTs (different jobs) | {len(paid)} ({len(set(paid))}) | {more} |")
    print(f"| memory of all processes, at most | {gauge.memory / 2**20:.0f} MiB in {gauge.processes} processes | |")
    return (
        first["counts"] == second["counts"] == {"succeeded": rows}
        and len(paid) == len(set(paid)) == rows
        and more == 0
        and [row["video"] for row in first["items"]] == [row["video"] for row in second["items"]]
    )


def main() -> None:
    """Run the command line. Exit 1 if a row was lost or paid twice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch")
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=20)
    parser.add_argument("--time-scale", type=float, default=0.2, help="what waits are multiplied by")
    options = parser.parse_args()
    sys.exit(not run(options.rows, options.concurrency, options.time_scale))


if __name__ == "__main__":
    main()
