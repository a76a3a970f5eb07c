"""Test what the console's page can ask for: files, requests, batches and recipes. Nothing is paid for twice."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botocore.exceptions import ReadTimeoutError

import ops.submit
from shared.jobs.links import without_secrets
from shared.requests.object_metadata import decoded
from tests.support.consoles import Page
from tests.support.fakes import BODY, PNG, PROMPT, UPLOADS, failed

if TYPE_CHECKING:
    from tests.support.operators import CommandLine

RECIPE = """{
  "model_id": "m/m",
  "prompt": "A {{stem}} in {{metadata.style|a studio}}",
  "reference_image_urls": ["{{asset_url}}"]
}"""
MODELS = {
    "models": [
        {
            "id": "m/m",
            "name": "M",
            "credits": {"default_cost": 5},
            "inputs": {"required": ["prompt"], "optional": ["image_url", "reference_image_urls"]},
            "params": {
                "aspect_ratio": {"type": "string", "options": ["16:9", "1:1"], "default": "1:1"},
                "duration_seconds": {"type": "number", "min": 1, "max": 60},
                "seed": {"type": "number"},
                "fps": "odd",
            },
        },
        {"id": "bare"},
    ]
}

OCCASIONS = ("8ba1c0de-0000-4000-8000-000000000001", "8ba1c0de-0000-4000-8000-000000000002")


@pytest.fixture
def page(account: CommandLine) -> Page:
    account.world.vendor.script["GET"] = [listing]
    return Page()


def listing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"ok": True, "code": 200, "data": MODELS})


def objects(account: CommandLine) -> list[str]:
    listed = account.world.s3.list_object_versions(Bucket=UPLOADS).get("Versions", [])
    return [one["Key"] for one in listed if not one["Key"].startswith("recipes/")]


# ---- a file and a request


def test_a_dropped_file_is_the_command_lines_upload(account: CommandLine, page: Page, tmp_path: Any) -> None:
    (tmp_path / "shoe.png").write_bytes(PNG)
    first = page.post("/api/uploads", PNG, name="shoe.png", recipe="shoes", metadata='{"style": "Öl"}')
    again = page.post("/api/uploads", PNG, name="C:\\photos\\shoe.png", recipe="shoes", metadata='{"style": "Öl"}')
    assert (first["is_new"], again["is_new"], again["job_id"]) == (True, False, first["job_id"])
    assert "There is no recipe shoes" in first["warning"]
    command = account.run("submit", str(tmp_path / "shoe.png"), "--recipe", "shoes", "--metadata", "style=Öl", "--json")
    assert json.loads(command[1])["job_id"] == first["job_id"]
    kept = account.world.s3.head_object(Bucket=UPLOADS, Key=first["key"])["Metadata"]
    assert decoded(kept["style"]) == "Öl"
    assert len(objects(account)) == 1


def test_another_video_of_the_same_is_made_only_where_it_is_asked_for(account: CommandLine, page: Page) -> None:
    jobs = [page.post("/api/uploads", PNG, name="shoe.png", again=again) for again in ("", *OCCASIONS, *OCCASIONS)]
    assert [job["is_new"] for job in jobs] == [True] * 3 + [False] * 2
    assert [job["job_id"] for job in jobs[3:]] == [job["job_id"] for job in jobs[1:3]], "a repeat after a lost answer"
    assert page.refused("POST", "/api/uploads", PNG, name="shoe.png", again="1")[0] == 400
    assert len(objects(account)) == 3


def test_a_lost_answer_of_an_upload_is_explained(
    account: CommandLine, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.submit, "_FIRST_WAIT_SECONDS", 0)
    account.fails["PutObject"] = ReadTimeoutError(endpoint_url="https://s3")
    status, error = page.refused("POST", "/api/uploads", PNG, name="shoe.png")
    assert (status, error["kind"]) == (502, "unanswered")
    assert "pays for nothing twice" in error["message"]


@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ({"name": ""}, PNG, 400),
        ({"name": "a.png", "metadata": "[]"}, PNG, 400),
        ({"name": "a.png", "metadata": '{"a": 1}'}, PNG, 400),
        ({"name": "a.png", "metadata": '{"ä": "x"}'}, PNG, 400),
        ({"name": "a.png", "recipe": "a/b"}, PNG, 400),
        ({"name": "a.csv"}, PNG, 409),
        ({"name": "a.json"}, b'{"a": }', 409),
        ({"name": "a.png"}, b"", 409),
        ({"name": "a.png"}, bytes(25_000_001), 400),
    ],
    ids=str,
)
def test_what_is_of_no_use_is_not_uploaded(
    account: CommandLine, page: Page, query: dict[str, str], body: bytes, status: int
) -> None:
    assert page.refused("POST", "/api/uploads", body, **query)[0] == status
    assert objects(account) == []


def test_a_request_becomes_one_job_and_its_prompt_stays_out_of_the_key(account: CommandLine, page: Page) -> None:
    asked = {**without_secrets(BODY), "metadata": {"order": "4711"}}
    first, second = page.post("/api/requests", asked), page.post("/api/requests", asked)
    assert (first["is_new"], second["is_new"], second["job_id"]) == (True, False, first["job_id"])
    assert [page.post("/api/requests", asked, again=OCCASIONS[0])["is_new"] for _ in range(2)] == [True, False]
    body = account.world.s3.get_object(Bucket=UPLOADS, Key=first["key"])["Body"].read()
    assert json.loads(body) == asked
    assert PROMPT[:6] not in first["key"]
    status, error = page.refused("POST", "/api/requests", {"model_id": "m/m", "params": {"fps": "x"}})
    assert (status, error["issues"]) == (400, [{"path": "params.fps", "message": "must be a number"}])
    assert page.refused("POST", "/api/requests", b"[]")[0] == 400


def test_models_say_what_can_be_filled_in(page: Page) -> None:
    full, bare = page.get("/api/models")["models"]
    inputs = {one["name"]: one for one in full["inputs"]}
    assert (full["credits"], full["price"], bare["price"]) == (5, "5 credits", "price not known")
    assert (inputs["prompt"]["required"], inputs["image_url"]["type"]) == (True, "link")
    assert inputs["reference_image_urls"]["type"] == "links"
    assert inputs["params.aspect_ratio"]["choices"] == ["16:9", "1:1"]
    assert (inputs["params.duration_seconds"]["min"], inputs["params.duration_seconds"]["max"]) == (1, 60)
    assert "params.seed" not in inputs  # it would be refused
    assert {one["name"] for one in bare["inputs"]} >= {"params.resolution", "params.fps"}


def test_models_that_cannot_be_had_are_explained(account: CommandLine, page: Page) -> None:
    account.fails["GetSecretValue"] = failed("GetSecretValue", "AccessDeniedException")
    status, error = page.refused("GET", "/api/models")
    assert (status, error["kind"]) == (502, "unanswered")


# ---- a batch


def test_a_batch_is_checked_first_and_never_uploaded_broken(account: CommandLine, page: Page) -> None:
    rows = b"model_id,prompt\nm/m,a boat\nm/m,<script>"
    assert page.post("/api/batches", rows, name="boats.csv", check="1")["key"] == "batches/boats.check.csv"
    assert page.post("/api/batches", rows, name="boats.csv", check="0")["key"] == "batches/boats.csv"
    status, error = page.refused("POST", "/api/batches", b"PK\x03\x04", name="more.csv", check="0")
    assert (status, "Nothing was uploaded" in error["message"]) == (409, True)
    assert page.refused("POST", "/api/batches", rows, name="boats.txt")[0] == 400
    assert len(objects(account)) == 2


def test_the_rows_of_a_running_batch_are_told_from_its_plan(account: CommandLine, page: Page) -> None:
    world = account.world
    jobs = [{"job_id": f"row-{n}", "model_id": "m", "source": {"line": n + 2}} for n in range(3)]
    world.upload("plans/jobs.json", json.dumps(jobs).encode())
    world.upload("plans/refused.json", json.dumps([{"line": 5, "error": {"code": "x", "message": "wrong"}}]).encode())
    batch = page.post("/api/batches", b"model_id,prompt\nm/m,a", name="boats.csv")
    world.paid_job("row-0", model_id="m")
    world.store.create("row-1", source={"type": "batch"})
    plan = {"source": {"bucket": UPLOADS}, "jobs": "plans/jobs.json", "refused": "plans/refused.json"}
    left = {"type": "TaskStateExited", "stateExitedEventDetails": {"name": "Plan", "output": json.dumps(plan)}}
    account.answers["DescribeExecution"] = lambda _: {"status": "RUNNING"}
    account.answers["GetExecutionHistory"] = lambda _: {"events": [left]}
    shown = page.get("/api/batches", key=batch["key"], version_id=batch["version_id"])
    assert (shown["status"], shown["rows"]) == ("running", 4)
    assert [(row["line"], row["status"]) for row in shown["items"]] == [
        *((2, "processing"), (3, "queued"), (4, "not_started"), (5, "refused"))
    ]
    world.overwrite("row-0", status="succeeded")
    account.calls.clear()
    for _ in range(2):
        shown = page.get("/api/batches", key=batch["key"], version_id=batch["version_id"])
    assert shown["counts"] == {"succeeded": 1, "queued": 1, "not_started": 1, "refused": 1}
    assert "s3:GetObject" not in account.calls  # the plan is kept


# ---- recipes


def test_a_recipe_is_saved_and_nobodys_change_is_overwritten(account: CommandLine, page: Page) -> None:
    saved = page.put("/api/recipes/shoes", {"text": RECIPE, "etag": None})
    shown = page.get("/api/recipes/shoes")
    assert (shown["text"], shown["etag"], shown["valid"]) == (RECIPE, saved["etag"], True)
    changed = page.put("/api/recipes/shoes", {"text": RECIPE.replace("A ", "The "), "etag": saved["etag"]})
    for etag in (saved["etag"], None):
        status, error = page.refused("PUT", "/api/recipes/shoes", {"text": RECIPE, "etag": etag})
        assert (status, "Nothing was saved" in error["message"]) == (409, True)
    assert page.get("/api/recipes/shoes")["etag"] == changed["etag"]
    (listed,) = page.get("/api/recipes")["recipes"]
    assert (listed["name"], listed["status"], listed["credits"]) == ("shoes", "valid", 5)
    assert set(listed["placeholders"]) - set(listed["needed"]) == {"{{metadata.style}}"}
    assert set(listed["needed"]) == {"{{stem}}", "{{asset_url}}"}
    assert page.refused("GET", "/api/recipes/none")[0] == 404


def test_errors_have_the_place_at_which_somebody_types(page: Page) -> None:
    def check(text: str) -> list[tuple[Any, ...]]:
        errors = page.post("/api/recipes/shoes/check", {"text": text, "file": None})["errors"]
        return [(one["path"], one["line"], one["column"]) for one in errors]

    assert check(RECIPE) == []
    assert check(RECIPE.replace("{{stem}}", "{{stemm}}")) == [("prompt", 3, 3)]
    assert check(RECIPE.replace('["{{asset_url}}"]', '[\n"{{asset_url}}", {"a": [1]}, 5]'))[0] == (
        *("reference_image_urls.1", 5, 18),
    )
    assert check(RECIPE.replace('"m/m",', '"m/m"')) == [("", 3, 3)]
    assert check('{"model_id": "a", "model_id": "b"}') == [("", None, None)]
    assert check('{"prompt": "x"}') == [("model_id", 1, 1)]
    assert check("[" * 5000 + "]" * 5000)[0][0] == ""
    status, error = page.refused("PUT", "/api/recipes/shoes", {"text": "{}", "etag": None})
    assert (status, error["issues"][0]["path"]) == (400, "model_id")
    assert page.refused("GET", "/api/recipes/shoes")[0] == 404


def test_a_preview_shows_the_request_that_a_file_would_make(page: Page) -> None:
    file = {"name": "Red Shoe.jpg", "metadata": {"Style": "Öl <b>"}}
    shown = page.post("/api/recipes/shoes/check", {"text": RECIPE, "file": file})
    assert shown["request"]["prompt"] == "A Red Shoe in Öl <b>"
    assert shown["request"]["reference_image_urls"] == [f"s3://{UPLOADS}/uploads/shoes/Red Shoe.jpg"]
    assert (shown["valid"], shown["errors"], shown["credits"]) == (True, [], 5)
    lacking = RECIPE.replace("|a studio", "")
    shown = page.post("/api/recipes/shoes/check", {"text": lacking, "file": {"name": "shoe.jpg"}})
    assert [(one["path"], one["line"]) for one in shown["errors"]] == [("prompt", 3)]
    assert page.refused("POST", "/api/recipes/shoes/check", {"text": RECIPE, "file": {"name": 5}})[0] == 400
    assert page.refused("POST", "/api/recipes/shoes/check", {"text": 5})[0] == 400
