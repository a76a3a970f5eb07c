"""Test the API's description: fresh, well-formed, complete for the deployed routes, and true of real answers."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shared.api.upload_form import UploadRequest
from shared.genviral.models import GenerateRequest, validated
from shared.jobs.states import Status
from tests.support.fakes import EVENTS, JOB_ID, VIDEOS, event
from tests.support.handlers import SAMPLES, Functions, post
from tools import docs, openapi

if TYPE_CHECKING:
    from tests.support.fakes import World

DOCUMENT: dict[str, Any] = json.loads(openapi.PATH.read_text())
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
CALLS = sorted(path.stem for path in EVENTS.glob("api_*.json"))


def test_the_document_in_the_repository_is_the_one_of_the_code() -> None:
    assert openapi.document() == DOCUMENT, "run `make docs`"


def test_a_stale_document_is_seen(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = tmp_path / "openapi.json"
    stale.write_text("{}")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "PAGES", ())
    monkeypatch.setattr(openapi, "PATH", stale)
    assert docs.main(["--check"]) == 1
    assert docs.main([]) == 0
    assert json.loads(stale.read_text()) == DOCUMENT


def test_it_describes_the_routes_that_are_deployed() -> None:
    resources = docs.template()["Resources"].values()
    deployed = {one["Properties"]["RouteKey"] for one in resources if one["Type"] == "AWS::ApiGatewayV2::Route"}
    assert set(OPERATIONS) == deployed
    assert {event(call)["routeKey"] for call in CALLS} == deployed, "a sample event for each route"


def test_it_is_well_formed() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert references <= set(DOCUMENT["components"]["schemas"])
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    for key, operation in OPERATIONS.items():
        assert operation["summary"]
        declared = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"}
        assert declared == set(re.findall(r"{(\w+)}", key))
        assert min(operation["responses"]) < "300"
        assert "503" in operation["responses"]


def test_every_route_may_be_refused_by_the_gateway_and_one_by_genviral() -> None:
    for key, operation in OPERATIONS.items():
        refusal = operation["responses"]["429"]
        assert "API Gateway's own" in refusal["description"]
        # The gateway sends neither our body nor our header.
        own = key == "GET /models"
        assert ["content" in refusal, "headers" in refusal] == [own, own]


def schema_of(call: str, status: int) -> dict[str, Any]:
    answer = OPERATIONS[event(call)["routeKey"]]["responses"][str(status)]
    schema: dict[str, Any] = answer["content"]["application/json"]["schema"]
    return schema


def conforms(document: object, schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator({"components": DOCUMENT["components"], **schema}).validate(document)


@pytest.mark.parametrize("call", CALLS)
def test_a_real_answer_has_the_shape_that_is_described(stage: Functions, call: str) -> None:
    SAMPLES[call][1](stage.world)
    answer = stage.call("api", event(call))
    described = OPERATIONS[event(call)["routeKey"]]["responses"][str(answer["statusCode"])]
    if event(call)["routeKey"].startswith("HEAD "):
        assert (answer["body"], "content" in described) == ("", False)
        return
    schema = schema_of(call, answer["statusCode"])
    conforms(json.loads(answer["body"]), schema)
    with pytest.raises(jsonschema.ValidationError):
        conforms({}, schema)
    assert set(described.get("headers", {})) <= set(answer["headers"])


def finished(world: World) -> None:
    world.paid_job(metadata={"a": 1}, recipe="default")
    world.store.transition(JOB_ID, Status.DELIVERING, output={"bucket": VIDEOS, "key": "videos/a.mp4", "bytes": 3})
    world.store.transition(JOB_ID, Status.SUCCEEDED)


def test_a_finished_job_and_a_refusal_have_their_shapes(stage: Functions) -> None:
    finished(stage.world)
    answer = stage.call("api", event("api_get_video"))
    job = json.loads(answer["body"])
    assert "url" in job["video"]
    conforms(job, schema_of("api_get_video", 200))
    # Every field that is shown is described.
    assert set(job) <= set(DOCUMENT["components"]["schemas"]["Job"]["properties"])
    refusal = stage.call("api", post({"prompt": "no model"}))
    conforms(json.loads(refusal["body"]), schema_of("api_post_videos", 422))


def _known(example: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in example.items() if name != "metadata"}


def test_a_job_can_be_followed_by_a_link() -> None:
    for key in ("POST /videos 202", "POST /uploads 201"):
        operation, _, status = key.rpartition(" ")
        link = OPERATIONS[operation]["responses"][status]["links"]["job"]
        assert (link["operationId"], link["parameters"]) == ("get_video", {"job_id": "$response.body#/job_id"})


def test_the_bodies_are_those_that_the_code_judges() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas["VideoRequest"]["properties"]) == {*GenerateRequest.model_fields, "metadata"}
    assert schemas["VideoRequest"]["additionalProperties"] is False
    assert schemas["VideoRequest"]["required"] == ["model_id"]
    sample = json.loads(event("api_post_videos")["body"])
    conforms(sample, {"$ref": "#/components/schemas/VideoRequest"})
    models: dict[str, Any] = {"VideoRequest": GenerateRequest, "UploadRequest": UploadRequest}
    for name, example in openapi.EXAMPLES.items():
        conforms(example, {"$ref": f"#/components/schemas/{name}"})
        assert validated(models[name], _known(example))
    for odd in ({"model_id": ""}, {"model_id": " "}, {"model_id": "m\x1b"}, {"model_id": "m", "image_url": "shoe.jpg"}):
        with pytest.raises(jsonschema.ValidationError):
            conforms(odd, {"$ref": "#/components/schemas/VideoRequest"})
    conforms(json.loads(event("api_post_uploads")["body"]), {"$ref": "#/components/schemas/UploadRequest"})
    for wrong in ({**sample, "colour": "red"}, {**sample, "params": {"fps": "24"}}, {"prompt": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            conforms(wrong, {"$ref": "#/components/schemas/VideoRequest"})
