"""Test `doctor` on the running cloud: sound as it is, and faults are found that were planted in it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from ops.exits import Exit
from tests.support.operating import ROOT, done, ops

if TYPE_CHECKING:
    from tests.support.laptop import RunningCloud

pytestmark = pytest.mark.integration


def test_doctor_finds_a_laptop_sound_and_the_faults_planted_in_it(world: RunningCloud) -> None:
    forget_others(world)
    paid = len(world.vendor()["submissions"])
    status, found = examined(world)
    assert status == 0
    # The cloud on a laptop turns no alarm on; nobody is subscribed to its alarms. `off` has none.
    has_alarms = os.environ.get("MONITORING") != "off"
    expected = {"alarms": "unknown", "subscriptions": "warning"} if has_alarms else {}
    sweep, _ = found.pop("sweep")
    assert sweep in ("ok", "unknown"), "it runs every quarter of an hour, and its calls are not always counted"
    assert {name: state for name, (state, _) in found.items() if state != "ok"} == expected

    done(world, "stop-intake")
    world.upload("recipes/misspelled.json", b'{"model_id": "m/m", "prompt": "{{asset_urk}}"}')
    try:
        status, found = examined(world)
    finally:
        done(world, "start-intake", "--yes")
        world.s3.delete_object(Bucket=world.at.uploads_bucket, Key="recipes/misspelled.json")
    assert status == Exit.UNSOUND
    assert {name for name, (state, _) in found.items() if state == "problem"} == {"intake", "recipes"}
    assert "'misspelled'" in found["recipes"][1]
    assert len(world.vendor()["submissions"]) == paid


def examined(world: RunningCloud) -> tuple[int, dict[str, tuple[str, str]]]:
    finished = ops(world, "doctor", "--json")
    checks = json.loads(finished.stdout)["checks"]
    return finished.returncode, {check["name"]: (check["state"], check["message"]) for check in checks}


def forget_others(world: RunningCloud) -> None:
    """Delete the recipes that other tests left, some of them broken."""
    own = {f"recipes/{file.name}" for file in (ROOT / "recipes").iterdir()}
    bucket = world.at.uploads_bucket
    for page in world.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="recipes/"):
        for one in page.get("Contents", ()):
            if one["Key"] not in own:
                world.s3.delete_object(Bucket=bucket, Key=one["Key"])
