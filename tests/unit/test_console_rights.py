"""Test that the console needs no more rights than its page and the operators' page list."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from tests.support.consoles import Page
from tests.support.fakes import JOB_ID, PLAIN_BODY, PNG, UPLOADS
from tests.support.operators import alive, uncertain
from tests.support.template import ROOT

if TYPE_CHECKING:
    from tests.support.operators import CommandLine

DOCS = ROOT / "docs"
# Actions with other names than their operations.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    "s3:HeadObject": "s3:GetObject",
    "s3:ListObjectsV2": "s3:ListBucket",
    "s3:ListObjectVersions": "s3:ListBucketVersions",
    "monitoring:DescribeAlarms": "cloudwatch:DescribeAlarms",
    # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html
    "dynamodb:TransactWriteItems": "dynamodb:UpdateItem",
}


def allowed() -> set[str]:
    """Return the actions that the policies on both pages allow."""
    texts = ((DOCS / name).read_text() for name in ("operator-access.md", "console.md"))
    policies = (json.loads(block) for text in texts for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    actions = (statement["Action"] for policy in policies for statement in policy["Statement"])
    return {action for listed in actions for action in ([listed] if isinstance(listed, str) else listed)}


def test_whatever_is_done_needs_only_rights_that_are_documented(account: CommandLine) -> None:
    uncertain(account.world)
    version = account.world.upload("uploads/shoe.png", PNG)
    source = {"type": "upload", "bucket": UPLOADS, "key": "uploads/shoe.png", "version_id": version}
    account.world.overwrite(JOB_ID, source=source)
    account.world.recipe({"model_id": "m/m", "prompt": "{{filename}}"})
    account.answers["DescribeAlarms"] = lambda _: {"MetricAlarms": []}
    page = Page()
    account.calls.clear()
    for address in ("session", "overview", "jobs", f"jobs/{JOB_ID}", "find?what=nobody", "recipes", "recipes/default"):
        assert page.http.get(f"/api/{address}").status_code in (200, 404), address
    assert page.http.get(f"/media/{JOB_ID}/upload").status_code == 200
    page.http.get("/api/models")
    page.post("/api/uploads", PNG, name="boot.png")
    page.post("/api/requests", PLAIN_BODY)
    batch = page.post("/api/batches", b"model_id,prompt\nm/m,a boat", name="boats.csv")
    page.get("/api/batches", key=batch["key"])
    page.put("/api/recipes/shoes", {"text": '{"model_id": "m/m", "prompt": "x"}', "etag": None})
    page.post("/api/intake", {"stopped": True})
    page.post("/api/intake", {"stopped": False})
    resubmit = next(one for one in page.get(f"/api/jobs/{JOB_ID}")["commands"] if one["name"] == "resubmit")
    page.post(f"/api/jobs/{JOB_ID}/resubmit", {"confirmed": True, "seen": resubmit["seen"]})
    alive(account.world, f"{JOB_ID}.r2")
    page.post(f"/api/jobs/{JOB_ID}/cancel")
    called = {ACTIONS.get(call, call) for call in account.calls}
    assert called >= {"dynamodb:BatchGetItem", "s3:PutObject", "s3:GetObject", "states:StartExecution"}
    assert called <= allowed()
