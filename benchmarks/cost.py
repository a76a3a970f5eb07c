"""Compute what one job costs on AWS: `make cost`. A real local run counts the requests, priced at list prices.

The run is the whole system (this template, real Lambda processes, the real state machine) with a request counter in
front of AWS (`benchmarks.counting`). Each request belongs to the invocation that made it, so every step has its own
count, and the cost of a job with any number of polls can be added up. Two values cannot be measured on a laptop and are
assumed below: how long real networks make a function wait, and how much slower a share of a CPU is. Storage and the
vendor's price of the video are left out.

Writes its tables into `docs/cost.md`, between the marks, and `benchmarks/cost.json`, from which `tools.cost` computes
what a month costs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from local import cloud as laptop
from shared.polling.durations import SLOTS, Durations, kind_of
from tools import docs
from tools.cost import COUNTED, PRICES, PRICES_READ, SECRET_A_MONTH

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = Path(__file__).parents[1] / "docs" / "cost.md"
ROOT = PAGE.parents[1]

# ---- the alternatives ----------------------------------------------------------------------------------------------

# Durable functions: $8 per million operations, and $0.25 per GB written to checkpoints.
DURABLE_OPERATION, DURABLE_GB_WRITTEN = 8e-6, 0.25
DURABLE_BYTES = 1_000
"""Assumed size of one checkpoint, in bytes."""
VM_A_MONTH = {
    "t4g.micro": (0.0084 * 730, "https://aws.amazon.com/ec2/pricing/on-demand/"),
    "8 GB of gp3": (8 * 0.08, "https://aws.amazon.com/ebs/pricing/"),
    "a public IPv4 address": (0.005 * 730, "https://aws.amazon.com/vpc/pricing/"),
}

# ---- what is assumed -------------------------------------------------------------------------------------------------

POLLS = {"this project, once warm": 5.6, "this project, unknown model": 14.0, "before": 13.0, "every 15 s": 20.0}
"""Polls at a five-minute generation that is spread by a quarter (`make bench-polling`); 300 / 15 for the fixed wait."""
DURABLE_POLLS = 7.9
FULL_CPU_MEGABYTES = 1769
"""https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html: so much memory comes with one whole CPU."""
NETWORK_SECONDS = {
    "uploads": 0.1,
    "submit": 1.5,
    "status": 0.4,
    "deliver": 3.0,
    "notify": 0.1,
    "forward": 0.1,
    "sweep": 0.2,
}
"""What a real vendor and real AWS add to an invocation's time over loopback: one slow POST, quick GETs, and a 50 MB
video at about 20 MB/s."""
RUNTIME_LOG_BYTES = 600
"""What Lambda itself logs about an invocation, at most: start, end, report."""
TRACED = 0.05
"""X-Ray's default sampling, beyond the first trace of each second."""

# ---- counting --------------------------------------------------------------------------------------------------------

GENERATION_SECONDS, SPREAD, RUNS = 20.0, 0.25, 3
PARAMETERS = {"PollFloorSeconds": "1", "PollCapSeconds": "600"}
_INDEXES = {
    "by_status": ("status", "changed_at", "created_at", "source", "execution", "model_id", "video_id"),
    "by_notice": ("status", "notice_due", "changed_at"),
}
"""Index → its two keys and its other attributes (template.yaml)."""


@dataclass
class Use:
    """What one step or one job uses: name of a price → amount."""

    of: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, amount: float = 1) -> None:
        assert name in PRICES, name  # noqa: S101 - a typing error here
        self.of[name] += amount  # type: ignore[assignment]  # a Counter of floats

    def plus(self, other: Use, times: float = 1) -> Use:
        return Use(
            Counter(
                {name: self.of[name] + times * other.of[name] for name in PRICES if self.of[name] or other.of[name]}
            )
        )

    @property
    def dollars(self) -> float:
        return sum(PRICES[name][0] * amount for name, amount in self.of.items())


@dataclass(frozen=True)
class Measured:
    """The measured use of each step, of a poll that finds nothing, and of the poll that finds the video."""

    steps: dict[str, Use]
    polls: list[int]
    transitions_beside_polls: int
    sweep: Use

    def job(self, polls: float) -> Use:
        """Return the use of one job with so many polls."""
        total = Use()
        for name, step in self.steps.items():
            total = total.plus(step, polls - 1 if name == "a poll in between" else 1)
        total.add("state transition", self.transitions_beside_polls + 3 * polls)
        return total


@contextlib.contextmanager
def counted_cloud(counts: Path, parameters: dict[str, str], generation_seconds: float) -> Iterator[laptop.Cloud]:
    """Run the local cloud with the counting AWS stand-in, which writes to `counts`."""
    child = laptop.Child

    def start(module: str, *arguments: str, **options: Any) -> Any:
        return child("benchmarks.counting" if module == "local.aws" else module, *arguments, **options)

    with (
        mock.patch.object(laptop, "Child", start),
        mock.patch.dict(os.environ, {"COUNTS": str(counts)}),
        laptop.Cloud(parameters=parameters, generation_seconds=generation_seconds) as cloud,
    ):
        yield cloud


def count() -> Measured:
    """Run some jobs in a row, after one to warm up, and count their requests."""
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder) / "counts"
        counts.touch()
        with counted_cloud(counts, PARAMETERS, GENERATION_SECONDS) as cloud:
            recipe = json.loads((ROOT / "recipes" / "default.json").read_text("utf-8"))
            teach(cloud, kind_of(recipe["model_id"], recipe), GENERATION_SECONDS)
            _run(cloud, "warm-up")
            counts.write_text("")
            histories = [_run(cloud, f"job-{number}") for number in range(RUNS)]
            time.sleep(1)
            facts = _facts(counts)
            counts.write_text("")
            _sweep(cloud)
            time.sleep(1)
            sweeps = _facts(counts)
    entered = [_entered(history) for history in histories]
    polls = [states.count("Poll") for states in entered]
    beside = {len(states) - 3 * number for states, number in zip(entered, polls, strict=True)}
    assert len(beside) == 1, "the runs differ in more than their polls"  # noqa: S101
    return Measured(_steps(facts), polls, beside.pop(), _idle_sweep(sweeps))


def _facts(counts: Path) -> list[dict[str, Any]]:
    return sorted((json.loads(line) for line in counts.read_text("utf-8").splitlines()), key=lambda fact: fact["at"])


def _sweep(cloud: laptop.Cloud) -> None:
    """Run some sweeps that find nothing to do: every job has ended."""
    functions = cloud.client("lambda")
    names = [one["FunctionName"] for one in functions.list_functions()["Functions"]]
    (name,) = [one for one in names if step_of(one) == "sweep"]
    for _ in range(1 + RUNS):
        answer = functions.invoke(FunctionName=name, Payload=(ROOT / "events" / "sweep_schedule.json").read_bytes())
        assert "FunctionError" not in answer, answer["Payload"].read()  # noqa: S101


def _idle_sweep(facts: list[dict[str, Any]]) -> Use:
    (use,) = _means(facts).values()
    use.add("EventBridge event of an upload or schedule")
    use.add("X-Ray trace")  # the first one in each second
    return use


def teach(cloud: laptop.Cloud, kind: str, seconds: float) -> None:
    """Store durations of a kind of video, as after some dozen jobs."""
    durations, rnd = Durations(cloud.client("dynamodb"), cloud.endpoints.jobs_table), random.Random(1)  # noqa: S311
    for number in range(8 * SLOTS):
        durations.learn(kind, f"seen-{number}", seconds * math.exp(rnd.gauss(0, SPREAD)))


def _run(cloud: laptop.Cloud, name: str) -> list[dict[str, Any]]:
    """Upload one file, wait for its end, and return the execution's history."""
    sfn = cloud.client("stepfunctions")
    known = {one["executionArn"] for one in _executions(cloud)}
    cloud.client("s3").put_object(
        Bucket=cloud.endpoints.uploads_bucket,
        Key=f"uploads/{name}.jpg",
        Body=(ROOT / "samples" / "product.jpg").read_bytes(),
    )
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for execution in _executions(cloud):
            if execution["executionArn"] not in known and execution["status"] != "RUNNING":
                assert execution["status"] == "SUCCEEDED", execution  # noqa: S101
                history: list[dict[str, Any]] = sfn.get_execution_history(
                    executionArn=execution["executionArn"], maxResults=1000
                )["events"]
                return history
        time.sleep(0.2)
    raise SystemExit(f"{name} did not end within two minutes.")


def _executions(cloud: laptop.Cloud) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cloud.client("stepfunctions").list_executions(
        stateMachineArn=cloud.endpoints.state_machine_arn
    )["executions"]
    return found


def _entered(history: list[dict[str, Any]]) -> list[str]:
    """Return every state that was entered, in order. Each is a transition, as each retry would be (there are none)."""
    return [event["stateEnteredEventDetails"]["name"] for event in history if "stateEnteredEventDetails" in event]


def _means(facts: list[dict[str, Any]]) -> dict[str, Use]:
    """Return the mean use of each step, as far as requests and invocations show it."""
    uses: dict[str, list[Use]] = {}
    items: dict[str, dict[str, Any]] = {}
    pending: list[dict[str, Any]] = []
    for fact in facts:
        if fact["service"] != "lambda":
            pending.append(fact)
            continue
        function = step_of(fact["function"])
        use = _invocation(function, fact)
        for request in pending:
            _request(use, request, items)
        if function == "status":
            function = "the last poll" if any(_ends(request) for request in pending) else "a poll in between"
        uses.setdefault(function, []).append(use)
        pending = []
    means = {}
    for step, seen in uses.items():
        total = Use()
        for use in seen:
            total = total.plus(use, 1 / len(seen))
        means[step] = total
    return means


def _steps(facts: list[dict[str, Any]]) -> dict[str, Use]:
    """Return the mean use of each step."""
    means = _means(facts)
    means["uploads"].add("EventBridge event of an upload or schedule")
    means["uploads"].add("S3 write or list request")  # the upload itself
    means["submit"].add("X-Ray trace", TRACED)
    for step in ("submit", "the last poll", "deliver"):
        # The key is cached for five minutes: in jobs that follow each other closely, as here, it is not read again.
        means[step].of["Secrets Manager request"] = 1
    return means


def step_of(function: str) -> str:
    """`genviral-video-SubmitFunction-1A2B` → `submit`."""
    return re.sub(r".*-(\w+)Function.*", r"\1", function).lower()


def _ends(request: dict[str, Any]) -> bool:
    return request["operation"] == "UpdateItem" and "status" in (request["item"] or {})


def _invocation(function: str, fact: dict[str, Any]) -> Use:
    seconds = fact["seconds"] * max(1, FULL_CPU_MEGABYTES / fact["megabytes"]) + NETWORK_SECONDS[function]
    use = Use()
    use.add("Lambda request")
    use.add("Lambda GB-second (arm64)", seconds * fact["megabytes"] / 1024)
    use.add("GB of logs", (fact["logged"] + RUNTIME_LOG_BYTES) / 1e9)
    return use


def _request(use: Use, fact: dict[str, Any], items: dict[str, dict[str, Any]]) -> None:
    service, operation = fact["service"], fact["operation"]
    if service == "dynamodb":
        _table(use, operation, fact["item"], items)
    elif service == "s3":
        writes = operation.startswith(("PUT", "POST")) or "list-type" in operation
        if not operation.startswith("DELETE"):  # free of charge
            use.add("S3 write or list request" if writes else "S3 read request")
    elif service == "sns":
        use.add("SNS message")
    elif service == "events":
        use.add("EventBridge event of a notification")
    elif service == "secretsmanager":
        use.add("Secrets Manager request")


def _table(use: Use, operation: str, item: dict[str, Any], items: dict[str, dict[str, Any]]) -> None:
    """Return the units of one request, including the indexes.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/GSI.html: one write where an indexed item is
    added, changed or removed, two where its key changes.
    """
    if operation == "Query":  # of an index, and of open jobs only: eventually consistent, and empty here
        use.add("DynamoDB read unit", 0.5)
        return
    if operation == "GetItem":
        use.add("DynamoDB read unit", math.ceil(max(_size(item), 1) / 4096))
        return
    key = item["job_id"]["S"]
    before, after = items.get(key, {}), item if len(item) > 1 else items.get(key, item)
    use.add("DynamoDB write unit", math.ceil(max(_size(after), _size(before)) / 1024))
    for first, second, *others in _INDEXES.values():
        was, now = ({name: one.get(name) for name in (first, second, *others)} for one in (before, after))
        there = [all(one[name] is not None for name in (first, second)) for one in (was, now)]
        if any(there) and was != now:
            moved = all(there) and (was[first], was[second]) != (now[first], now[second])
            use.add("DynamoDB write unit", 2 if moved else 1)
    items[key] = after


def _size(item: dict[str, Any]) -> int:
    """Estimate DynamoDB's size of an item: names and values, without type descriptors."""
    return len(re.sub(r'\{"[SNBM]":|"L":|"BOOL":|[{}"\s]', "", json.dumps(item, ensure_ascii=False)).encode())


# ---- reporting -------------------------------------------------------------------------------------------------------


MONTH = """\
### A month of jobs, in dollars

To compare ways of doing the work: the jobs and the API key's secret, and nothing that a stack costs besides. Sweeps,
metrics and alarms are left out here; [Monitoring](#monitoring) has whole months, with them."""
"""What stands above the table of ways to do the work."""


def _lines(measured: Measured) -> Iterator[str]:
    yield f"Counted in {RUNS} jobs from an upload, polled {measured.polls} times."
    yield f"Prices: {PRICES_READ}."
    yield ""
    job = measured.job(POLLS["this project, once warm"])
    before = measured.job(POLLS["before"])
    yield f"### One job, a generation of five minutes, {POLLS['this project, once warm']} polls"
    yield ""
    yield "| what | how much | at | $ a job | share | before learning, $ |"
    yield "|---|---|---|---|---|---|"
    for name, (price, source) in PRICES.items():
        if amount := job.of[name]:
            yield (
                f"| {name} | {amount:.3g} | [${_price(price)}]({source}) | {price * amount:.6f} "
                f"| {price * amount / job.dollars:.0%} | {price * before.of[name]:.6f} |"
            )
    yield f"| **all** | | | **{job.dollars:.6f}** | 100% | **{before.dollars:.6f}** |"
    yield ""
    yield "### Each step of it, without its state transitions"
    yield ""
    yield "| step | GB-seconds | table writes | table reads | S3 writes | S3 reads | $ |"
    yield "|---|---|---|---|---|---|---|"
    for name, step in measured.steps.items():
        of = step.of
        yield (
            f"| {name} | {of['Lambda GB-second (arm64)']:.3f} | {of['DynamoDB write unit']:.3g} "
            f"| {of['DynamoDB read unit']:.3g} | {of['S3 write or list request']:.3g} | {of['S3 read request']:.3g} "
            f"| {step.dollars:.6f} |"
        )
    yield ""
    yield MONTH
    yield ""
    yield "| | polls | 1 job | 1,000 jobs | 1,000,000 jobs |"
    yield "|---|---|---|---|---|"
    for name, polls in POLLS.items():
        yield _month(name, polls, measured.job(polls).dollars)
    yield _month("durable functions, default waits", DURABLE_POLLS, _durable(measured, DURABLE_POLLS))
    warm = POLLS["this project, once warm"]
    yield _month("durable functions, this project's waits", warm, _durable(measured, warm))
    vm = sum(price for price, _ in VM_A_MONTH.values())
    beside = job.plus(Use(Counter({"state transition": job.of["state transition"]})), -1).dollars
    rest = " | ".join(f"{SECRET_A_MONTH + vm + beside * jobs:,.2f}" for jobs in (1, 1_000, 1_000_000))
    yield f"| a poller on a small VM ({', '.join(VM_A_MONTH)}) | any | {rest} |"


def _price(price: float) -> str:
    return f"{price:.2f}" if price >= 0.01 else f"{price * 1e6:.6g} a million"


def _month(name: str, polls: float, dollars: float) -> str:
    sums = " | ".join(f"{SECRET_A_MONTH + dollars * jobs:,.2f}" for jobs in (1, 1_000, 1_000_000))
    return f"| {name} | {polls:g} | {sums} |"


def _durable(measured: Measured, polls: float) -> float:
    """Price the same steps as operations of one durable function: a start, each poll, and the four other steps."""
    job = measured.job(polls)
    steps = job.dollars - PRICES["state transition"][0] * job.of["state transition"]
    return steps + (5 + polls) * (DURABLE_OPERATION + DURABLE_GB_WRITTEN * DURABLE_BYTES / 1e9)


def main() -> None:
    """Count, and write the result."""
    argparse.ArgumentParser(prog="python -m benchmarks.cost").parse_args()
    measured = count()
    text = "\n".join(_lines(measured))
    print(text)
    job = measured.job(POLLS["this project, once warm"])
    facts = {"job": job.of, "sweep": measured.sweep.of}
    COUNTED.write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
    marks = re.compile(r"(<!-- counted -->\n).*?(\n<!-- end of counted -->)", re.DOTALL)
    PAGE.write_text(marks.sub(lambda found: found[1] + text + found[2], PAGE.read_text("utf-8")))
    docs.main([])  # what a month costs with each Monitoring


if __name__ == "__main__":
    main()
