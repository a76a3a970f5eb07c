"""Answer with Genviral's price list, and read what the daily limit has counted."""

from __future__ import annotations

import time

import httpx

from tests.support.fakes import BODY, TABLE, Answer, World


def priced(**prices: float | None) -> Answer:
    """Answer with a list of models. `model` stands for the one that the jobs of these tests name."""
    models = [
        {"id": BODY["model_id"] if name == "model" else name, "mode": "video"}
        | ({} if price is None else {"credits": {"default_cost": price}})
        for name, price in prices.items()
    ]
    return lambda _: httpx.Response(200, json={"ok": True, "code": 200, "data": {"models": models}})


def spent(world: World, day: str | None = None) -> float:
    """Return the credits counted on a day (UTC); today by default."""
    day = day or time.strftime("%Y-%m-%d", time.gmtime(time.time()))
    item = world.dynamodb.get_item(TableName=TABLE, Key={"job_id": {"S": f"#credits {day}"}}).get("Item", {})
    return float(item["spent"]["N"]) if item else 0
