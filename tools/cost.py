"""Compute what a month costs with each value of Monitoring, from the template and from requests counted in a real run.

`benchmarks.cost` counts (`make cost`) and keeps the result in benchmarks/cost.json. What is deployed comes from the
template, so a new alarm has its price at once. `tools.docs` writes the tables into docs/cost.md.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from tools.conditions import deployed

COUNTED = Path(__file__).parents[1] / "benchmarks" / "cost.json"
"""Name of a price → amount, for one job and for one sweep that finds nothing to do."""

# ---- prices ----------------------------------------------------------------------------------------------------------

PRICES_READ = "us-east-1, list, as known in November 2026 and not read live; no free tiers, no volume discounts"
PRICES: dict[str, tuple[float, str]] = {
    "state transition": (25e-6, "https://aws.amazon.com/step-functions/pricing/"),
    "Lambda request": (0.20e-6, "https://aws.amazon.com/lambda/pricing/"),
    "Lambda GB-second (arm64)": (13.3334e-6, "https://aws.amazon.com/lambda/pricing/"),
    "DynamoDB write unit": (0.625e-6, "https://aws.amazon.com/dynamodb/pricing/on-demand/"),
    "DynamoDB read unit": (0.125e-6, "https://aws.amazon.com/dynamodb/pricing/on-demand/"),
    "S3 write or list request": (5e-6, "https://aws.amazon.com/s3/pricing/"),
    "S3 read request": (0.4e-6, "https://aws.amazon.com/s3/pricing/"),
    "SNS message": (0.50e-6, "https://aws.amazon.com/sns/pricing/"),
    "EventBridge event of an upload or schedule": (1e-6, "https://aws.amazon.com/eventbridge/pricing/"),
    "EventBridge event of a notification": (1e-6, "https://aws.amazon.com/eventbridge/pricing/"),
    "Secrets Manager request": (5e-6, "https://aws.amazon.com/secrets-manager/pricing/"),
    "X-Ray trace": (5e-6, "https://aws.amazon.com/xray/pricing/"),
    "GB of logs": (0.50, "https://aws.amazon.com/cloudwatch/pricing/"),
}
SECRET_A_MONTH = 0.40
METRIC_A_MONTH, ALARM_A_MONTH, DASHBOARD_A_MONTH, KEY_A_MONTH = 0.30, 0.10, 3.00, 1.00
"""A metric of ours in every hour (CloudWatch charges by the hour with a value), a metric that an alarm of standard
resolution watches, a dashboard, a KMS key. https://aws.amazon.com/cloudwatch/pricing/, https://aws.amazon.com/kms/pricing/
"""
SECRETS, CLOUDWATCH, KMS = (
    f"https://aws.amazon.com/{service}/pricing/" for service in ("secrets-manager", "cloudwatch", "kms")
)
HOURS = 730
SWEEPS = 4 * HOURS
LEVELS = ("off", "essential", "full")
JOBS = (0, 1_000, 100_000)

OFTEN, OPEN, RARE = 1.0, 0.4, 0.01
METRICS: dict[str, tuple[float, int]] = {
    **dict.fromkeys(("BytesDelivered", "JobsSucceeded", "Polls", "SecondsToFinish"), (OFTEN, 1)),
    **dict.fromkeys(("CreditsUsed", "JobsSubmitted"), (OFTEN, 2)),
    **dict.fromkeys(("JobsOpen", "OldestOpenJobSeconds"), (OPEN, 1)),
    **dict.fromkeys(
        ("JobsAwaitingRedrive", "JobsOnHold", "SweptInterrupted", "SweptRedriven", "SweptStarted"), (RARE, 1)
    ),
    **dict.fromkeys(("JobsCanceled", "JobsFailed", "JobsHeld", "JobsHeldByLimit", "JobsInterrupted"), (RARE, 1)),
    **dict.fromkeys(("JobsLeftInterrupted", "JobsTimedOut", "JobsUncertain", "SubmissionsUncertain"), (RARE, 1)),
    "SecondVideos": (RARE, 2),
}
"""Metric of ours → for which share of the jobs it has a value, and how many metrics it is with `full`: what is counted
by source has one more (of one source). A sweep meets a job of six minutes with a chance of 0.4; rare is one in a
hundred, which is more than happens."""
BY_SWEEP = frozenset(
    {
        *("JobsAwaitingRedrive", "JobsOnHold", "JobsOpen", "OldestOpenJobSeconds"),
        *("SweptInterrupted", "SweptRedriven", "SweptStarted"),
    }
)
"""What every sweep publishes, zeros too, with `full`."""


def _counted(what: str) -> dict[str, float]:
    found: dict[str, float] = json.loads(COUNTED.read_text("utf-8"))[what]
    return found


def _dollars(use: dict[str, float]) -> float:
    return sum(PRICES[name][0] * amount for name, amount in use.items())


def _resources(level: str) -> dict[str, dict[str, Any]]:
    return deployed({"Monitoring": level})


def _published(level: str) -> set[str]:
    functions = [one for one in _resources(level).values() if one["Type"] == "AWS::Lambda::Function"]
    names = functions[0]["Properties"]["Environment"]["Variables"]["METRICS"]
    return {"all": set(METRICS), "none": set()}.get(names, set(names.split(",")))


def metric_price(name: str, level: str, jobs: int) -> float:
    """Return what a metric of ours costs a month, in dollars: $0.30 for each metric, by the hours with a value.

    Jobs are taken to come at random, so `n` values are in `HOURS * (1 - exp(-n / HOURS))` hours.
    """
    if name not in _published(level):
        return 0.0
    share, metrics = METRICS[name]
    full = level == "full"
    hours = HOURS if full and name in BY_SWEEP else HOURS * (1 - math.exp(-jobs * share / HOURS))
    return METRIC_A_MONTH * hours / HOURS * (metrics if full else 1)


def alarms(level: str) -> dict[str, int]:
    """Return each alarm of a stack with the number of metrics that it watches."""
    return {
        name: len([one for one in alarm["Properties"].get("Metrics", []) if "MetricStat" in one]) or 1
        for name, alarm in _resources(level).items()
        if alarm["Type"] == "AWS::CloudWatch::Alarm"
    }


def month(level: str, jobs: int) -> dict[str, float]:
    """Return what a stack costs a month, in dollars, line by line."""
    kinds = [one["Type"] for one in _resources(level).values()]
    swept = _counted("sweep")
    lines = {
        "the secret of the API key": SECRET_A_MONTH * kinds.count("AWS::SecretsManager::Secret"),
        "metrics that alarms watch": ALARM_A_MONTH * sum(alarms(level).values()),
        "metrics of ours": sum(metric_price(name, level, jobs) for name in METRICS),
        "dashboards": DASHBOARD_A_MONTH * kinds.count("AWS::CloudWatch::Dashboard"),
        "the alarm topic's key": KEY_A_MONTH * kinds.count("AWS::KMS::Key"),
    }
    lines |= {f"sweeps: {name}": SWEEPS * PRICES[name][0] * amount for name, amount in swept.items()}
    return lines | ({"jobs": jobs * _dollars(_counted("job"))} if jobs else {})


def idle_table() -> list[tuple[str, ...]]:
    """Return the lines of an idle month: what, how many, price, dollars for each level."""
    months = [month(level, 0) for level in LEVELS]
    sources = {
        "the secret of the API key": f"[$0.40]({SECRETS})",
        "metrics that alarms watch": f"[$0.10]({CLOUDWATCH})",
        "metrics of ours": f"[$0.30]({CLOUDWATCH})",
        "dashboards": f"[$3]({CLOUDWATCH})",
        "the alarm topic's key": f"[$1]({KMS})",
    }
    sources |= {
        f"sweeps: {name}": f"[${price * 1e6:g} a million]({source})" for name, (price, source) in PRICES.items()
    }
    sources["sweeps: GB of logs"] = f"[$0.50]({CLOUDWATCH})"
    lines = [(name, sources[name], *(f"{one[name]:.4f}" for one in months)) for name in months[0]]
    return [*lines, ("**all**", "", *(f"**{sum(one.values()):.2f}**" for one in months))]


def total_table() -> list[tuple[str, ...]]:
    """Return what a month costs in all and for being watched alone, for each level and number of jobs."""
    unwatched = [sum(month("off", jobs).values()) for jobs in JOBS]
    lines = []
    for level in LEVELS:
        sums = [sum(month(level, jobs).values()) for jobs in JOBS]
        cells = [f"{total:,.2f} ({total - base:.2f})" for total, base in zip(sums, unwatched, strict=True)]
        lines.append((f"`{level}`", *cells))
    return lines


def alarm_table() -> list[tuple[str, ...]]:
    """Return each alarm, how many metrics it watches, its price, and the levels that have it."""
    watched = {level: alarms(level) for level in LEVELS}
    return [
        (
            f"`{name}`",
            f"{ALARM_A_MONTH * metrics:.2f}",
            ", ".join(f"`{level}`" for level in LEVELS if name in watched[level]),
        )
        for name, metrics in watched["full"].items()
    ]


def metric_table() -> list[tuple[str, ...]]:
    """Return each metric of ours with its price for each number of jobs, with `essential` and with `full`."""
    return [
        (
            f"`{name}`",
            *(f"{metric_price(name, level, jobs):.2f}" for level in LEVELS[1:] for jobs in JOBS),
        )
        for name in sorted(METRICS)
    ]
