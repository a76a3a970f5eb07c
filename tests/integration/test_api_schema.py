"""Test the API against its own OpenAPI document with schemathesis: answers match it, and valid requests are accepted.

`API_CASES=700 make test ARGS=tests/integration/test_api_schema.py` tries more than 10,000 random requests.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from local.cloud import Cloud

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
CASES = os.environ.get("API_CASES")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "valid_data_acceptance",  # of api_rules.py
)
RECIPE = {"model_id": "bytedance/seedance-2.0", "image_url": "{{asset_url}}"}


def test_the_api_does_as_its_document_says(tmp_path: Path) -> None:
    # The vendor takes longer than the test, so a job costs one poll at most.
    with Cloud(generation_seconds=3600, parameters={"PollFloorSeconds": "600"}) as cloud:
        at = cloud.endpoints
        recipe = json.dumps(RECIPE).encode()
        cloud.client("s3").put_object(Bucket=at.uploads_bucket, Key="recipes/default.json", Body=recipe)
        done = subprocess.run(  # noqa: S603 - a pinned tool, and the project's own document
            [
                *(sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "docs" / "openapi.json")),
                *("--url", at.api_url, "--checks", ",".join(CHECKS)),
                *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", CASES or "15"),
                *("--continue-on-failure", "--request-timeout", "60", "--suppress-health-check", "all"),
                *(("--generation-database", "none") if CASES else ("--generation-deterministic",)),
                "--no-color",
            ],
            cwd=tmp_path,
            # It parses the encoding's name itself, and make sets an encoding without a name.
            env={
                **os.environ,
                "PYTHONIOENCODING": "utf-8",
                "PYTHONPATH": str(ROOT),
                "SCHEMATHESIS_HOOKS": "tests.support.api_rules",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        books = httpx.get(f"{at.genviral_admin_url}/state").json()
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    for phase in ("Examples", "Coverage", "Fuzzing", "Stateful"):
        assert re.search(rf"✅ +{phase}\n", done.stdout), f"{phase} was not run"
    passed = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert passed
    assert passed[1] == passed[2]
    assert int(passed[1]) > 300
    paid = Counter(submission["idempotency_key"] for submission in books["submissions"])
    assert paid
    assert set(paid.values()) == {1}
