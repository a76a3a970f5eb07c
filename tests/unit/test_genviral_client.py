"""Test that each answer of the vendor becomes the right value or error, and that the paid request is sent once."""

from __future__ import annotations

import gzip
import json
import logging
import ssl
import subprocess
import sys
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.faults import Paid
from shared.genviral import client as client_module
from shared.genviral.client import BASE_URL, Generation, GenviralClient, Timeouts
from shared.genviral.errors import TABLE, Call, GenviralFault, InvalidPayload, SubmissionUncertain
from shared.genviral.responses import MAX_BODY_BYTES

KEY = "pub_5f2c81d7.sk_9a8b7c6d5e4f"
PROMPT = "A very private red shoe, turning slowly on a marble table"
BODY = {"model_id": "bytedance/seedance-2.0", "prompt": PROMPT, "params": {"duration_seconds": 5}}
ACCEPTED = {
    "ok": True,
    "code": 202,
    "message": "Video generation started",
    "data": {
        "video_id": "22222222-2222-2222-2222-222222222222",
        "prediction_id": "pred_abc123",
        "provider": "fal",
        "model_id": "openai/sora-2",
        "status": "processing",
        "output_url": None,
        "credits_used": 5,
    },
}
Handler = Callable[[httpx.Request], httpx.Response]


class Vendor(httpx.MockTransport):
    """Gives the same answer to every request and keeps the requests."""

    def __init__(self, handler: Handler) -> None:
        self.requests: list[httpx.Request] = []
        super().__init__(handler)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return super().handle_request(request)


def answering(status: int, body: object = None, **headers: str) -> Vendor:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Vendor(lambda _: httpx.Response(status, content=content, headers=headers))


def failing(error: type[httpx.RequestError]) -> Vendor:
    def fail(request: httpx.Request) -> httpx.Response:
        raise error(f"low-level words about {PROMPT}", request=request)

    return Vendor(fail)


def client_of(vendor: Vendor, *keys: str) -> GenviralClient:
    kept = list(keys or (KEY,))

    def api_key(refresh: bool) -> str:
        return kept[-1] if refresh else kept[0]

    return GenviralClient(api_key, base_url=BASE_URL, timeouts=Timeouts(), transport=vendor)


def refusal(status: int, error_code: str | None = None, **more: object) -> dict[str, Any]:
    body = {"ok": False, "code": status, "message": "The vendor's own words", **more}
    return body if error_code is None else {**body, "error_code": error_code}


def generate(vendor: Vendor, *keys: str) -> GenviralFault:
    with client_of(vendor, *keys) as client, pytest.raises(GenviralFault) as caught:
        client.generate(BODY, idempotency_key="job-1")
    return caught.value


def read_status(vendor: Vendor, *keys: str) -> GenviralFault:
    with client_of(vendor, *keys) as client, pytest.raises(GenviralFault) as caught:
        client.get_video("v1")
    return caught.value


def outcome(call: Callable[[], object]) -> object:
    try:
        return call()
    except GenviralFault as fault:
        return fault


def test_the_request_is_what_the_vendor_documents() -> None:
    vendor = answering(202, ACCEPTED)
    with client_of(vendor) as client:
        generation = client.generate(BODY, idempotency_key="job-1")
    (request,) = vendor.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/studio/videos/generate")
    assert json.loads(request.content) == BODY
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Idempotency-Key"] == "job-1"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Connection"] == "close"
    assert request.extensions["timeout"] == {"connect": 5.0, "read": 30.0, "write": 10.0, "pool": 5.0}
    assert generation.video_id == "22222222-2222-2222-2222-222222222222"
    assert (generation.credits_used, generation.status, generation.model_id) == (5, "processing", "openai/sora-2")


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("credits_used", [None, True, "5", -1, float("nan"), 10**400])
def test_an_accepted_video_is_kept_whatever_its_credits_are(status: int, credits_used: object) -> None:
    vendor = answering(status, {"ok": True, "data": {"video_id": "v1", "credits_used": credits_used}})
    with client_of(vendor) as client:
        generation = client.generate(BODY, idempotency_key="job-1")
    assert (generation.video_id, generation.credits_used) == ("v1", None)


DOCUMENTED = [
    (status, code, row.fault.__name__)
    for row in TABLE
    if row.call is not Call.READ
    for status in row.statuses
    for code in row.codes
]


@pytest.mark.parametrize(
    ("status", "error_code", "name"),
    [
        *DOCUMENTED,
        # The error code takes precedence over the status.
        (402, "tier_not_allowed", "TierNotAllowed"),
        (402, " Insufficient_Credits ", "InsufficientCredits"),
        (400, "insufficient_credits", "InsufficientCredits"),
        (503, "rate_limited", "RateLimited"),
        (502, "generation_failed", "GenerationFailed"),
        (401, "insufficient_credits", "AuthenticationFailed"),
        # Without a known code the status decides; an account error is never the end of a job.
        # This client sends no broken JSON, so a 400 without a known code has another cause.
        (400, None, "RequestRejected"),
        (401, None, "AuthenticationFailed"),
        (401, "brand_new", "AuthenticationFailed"),
        (402, None, "SubscriptionRequired"),
        (402, "brand_new", "SubscriptionRequired"),
        (403, None, "TierNotAllowed"),
        (403, "brand_new", "TierNotAllowed"),
        (422, None, "InvalidPayload"),
        (422, "brand_new", "RequestRejected"),
        (400, "brand_new", "RequestRejected"),
        (404, "video_not_found", "RequestRejected"),
        (413, None, "RequestRejected"),
        (429, None, "RateLimited"),
        (429, "brand_new", "RateLimited"),
        # A 5xx that names no known cause may have happened after the charge.
        (500, None, "SubmissionUncertain"),
        (500, "brand_new", "SubmissionUncertain"),
        (504, None, "SubmissionUncertain"),
    ],
)
def test_a_refusal_of_the_paid_request(status: int, error_code: str | None, name: str) -> None:
    vendor = answering(status, refusal(status, error_code))
    fault = generate(vendor)
    assert type(fault).__name__ == name
    assert fault.http_status == status
    assert fault.error_code == (error_code.strip().lower() if error_code else fault.code)
    assert "The vendor's own words" in fault.message
    assert len(vendor.requests) == 1


def test_the_documented_table() -> None:
    assert {(status, code): name for status, code, name in DOCUMENTED} == {
        (400, "invalid_json"): "InvalidJson",
        (401, "invalid_token"): "AuthenticationFailed",
        (402, "subscription_required"): "SubscriptionRequired",
        (403, "tier_not_allowed"): "TierNotAllowed",
        (402, "insufficient_credits"): "InsufficientCredits",
        (403, "insufficient_credits"): "InsufficientCredits",
        (422, "invalid_payload"): "InvalidPayload",
        (422, "invalid_input"): "InvalidInput",
        (422, "model_requires_image"): "InvalidInput",
        (422, "model_input_not_supported"): "InvalidInput",
        (429, "rate_limited"): "RateLimited",
        (500, "generation_failed"): "GenerationFailed",
    }


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (202, b"<html>Accepted</html>"),
        (202, b'{"ok": true, "data": {"video_id": "v1"'),
        (202, b"[" * 100_000),
        (202, b'{"ok": true, "n": ' + b"9" * 5_000 + b"}"),
        (202, b" " * (1 << 24) + json.dumps(ACCEPTED).encode()),
        (202, {"ok": True, "data": {}}),
        (202, {"ok": True, "data": {"video_id": ""}}),
        (202, {"ok": True, "data": {"video_id": " "}}),
        (202, {"ok": True, "data": {"video_id": True}}),
        (202, {"ok": True, "data": {"video_id": 7.5}}),
        (202, {"ok": True, "data": {"video_id": 1e300}}),
        (202, {"ok": True, "data": {"video_id": ["v1"]}}),
        (202, {"ok": True, "data": {"video_id": "a\nb"}}),
        (202, {"ok": True, "data": {"video_id": ".."}}),
        (202, {"ok": True, "data": {"video_id": "v" * 513}}),
        (202, b'{"ok": true, "data": {"video_id": "v\xff1"}}'),
        (202, {"ok": True, "data": {"video_id": "\ud800"}}),
        (202, {"ok": True, "data": ["video_id"]}),
        (202, {"data": {"video_id": "v1"}}),
        (202, {"ok": 1, "data": {"video_id": "v1"}}),
        (200, refusal(402, "insufficient_credits")),
        (204, b""),
        (206, ACCEPTED),
        (307, b""),
        (402, ACCEPTED),
        (500, ACCEPTED),
        (500, {"error_code": "generation_failed"}),
        (500, refusal(500, "generation_failed", data={"video_id": "v1"})),
        (500, refusal(500, "generation_failed", data={"credits_used": 5})),
        (402, refusal(402, "insufficient_credits", data={"video_id": "v1"})),
        (500, b"<html>generation_failed</html>"),
        (502, b""),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_outside_the_contract_may_have_been_paid_for(status: int, body: object) -> None:
    vendor = answering(status, body, Location="https://elsewhere.example/generate")
    fault = generate(vendor)
    assert (type(fault).__name__, fault.paid) == ("SubmissionUncertain", Paid.UNKNOWN)
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (202, {"data": {"video_id": "v1"}}),
        (202, {"ok": True, "video_id": "v1", "data": []}),
        (202, {"ok": True, "data": {"video": {"id": "v1"}}}),
        (307, {"data": {"video_id": "v1"}}),
        (402, {"ok": True, "data": {"video_id": "v1"}}),
        (409, refusal(409, data={"video_id": "v1"})),
        (500, refusal(500, data={"video_id": "v1"})),
        (202, b'{"ok": true, "data": {"video_id": "v1", "prediction'),
        (202, b'{"data": {"logs": [{"a": "}"}], "video_id": "v1", "input": "'),
        (502, b'{"ok": true, "data": {"video_id": "v1"'),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_uncertain_answer_that_names_a_video_says_which(status: int, body: object) -> None:
    fault = generate(answering(status, body))
    assert isinstance(fault, SubmissionUncertain)
    assert "names video v1" in fault.message
    assert fault.document()["video_id"] == fault.video_id == "v1"
    assert "attach" in fault.document()["advice"]


@pytest.mark.parametrize(
    "name", ["id", "task_id", "taskId", "job_id", "generation_id", "uuid", "prediction_id", "predictionId"]
)
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "broken off"])
def test_an_uncertain_answer_with_an_id_of_another_name_says_which(name: str, whole: bool) -> None:
    """It may be the video's id. Then no advice to resubmit is given because Genviral does not know it."""
    for body in ({"ok": True, "data": {name: 7}}, {name: "7"}, {"data": {"result": {name: "7"}}}):
        content = json.dumps({**body, "z": 1}).encode()
        fault = generate(answering(202, content if whole else content[:-3]))
        assert isinstance(fault, SubmissionUncertain)
        assert f"names {name} 7" in fault.message
        assert fault.document()["video_id"] == "7"
        assert "before you resubmit" in fault.document()["advice"]


# What an answer holds -> the id that is kept, and what the message says.
NAMED_IDS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "a list of objects": ({"data": [{"video_id": "v1"}]}, "v1", "video v1"),
    "an object within": ({"data": {"data": {"video_id": "v1"}}}, "v1", "video v1"),
    "a result": ({"data": {"result": {"video_id": "v1"}}}, "v1", "video v1"),
    "beside the data": ({"data": None, "result": {"video": {"id": "v1"}}}, "v1", "video v1"),
    "a generation": ({"data": {"generation": {"id": "g1"}}}, "g1", "id g1"),
    "a list of videos": ({"data": {"videos": [{"id": "v1"}]}}, "v1", "video v1"),
    "a list of ids": ({"data": {"video_ids": ["v1"]}}, "v1", "video v1"),
    "a list under the name of one": ({"data": {"video_id": ["v1", "v2"]}}, "v1", "video v1, video v2"),
    "a name in capitals": ({"data": {"videoID": "v1"}}, "v1", "video v1"),
    "a text in place of the video": ({"data": {"video": "v1"}}, "v1", "video v1"),
    "a text in place of the data": ({"data": "v1"}, "v1", "data v1"),
    "JSON in place of the data": ({"data": '{"video_id": "v1"}'}, "v1", "video v1"),
    "blanks around it": ({"data": {"id": " v1\n"}}, "v1", "id v1"),
    "a video's before a row's": ({"data": {"id": "row_1", "video": {"id": "v7"}}}, "v7", "video v7, id row_1"),
    "the data's before the answer's": (
        {"id": "x1", "data": {"task_id": "t1", "generation_id": "g1"}},
        "g1",
        "generation_id g1, task_id t1, id x1",
    ),
    "the same twice": ({"id": "v1", "data": {"id": "v1", "video_id": "v1"}}, "v1", "video v1"),
    "an event's behind all others": ({"id": "evt_1", "data": {"task_id": "t1"}}, "t1", "task_id t1, id evt_1"),
    "an event's alone": ({"id": "evt_1"}, None, "id evt_1"),
    "a request's by its name": ({"message": "maintenance", "request_id": "abc"}, None, "request_id abc"),
    "a request's by its form": ({"id": "req_9", "error": "x"}, None, "id req_9"),
    "more than a line can tell": (
        {"data": {"video_ids": [f"v{number}" for number in range(99)]}},
        "v0",
        "video v0, video v1, video v2, video v3, video v4",
    ),
    "a word in place of the data": ({"data": "queued"}, None, None),
    "a link in place of the video": ({"data": {"video": "https://cdn.example/v1"}}, None, None),
    "too deep": ({"data": {"data": {"data": {"data": {"data": {"id": "v1"}}}}}}, None, None),
    "private text in place of the id": ({"data": {"videos": [{"id": PROMPT}]}}, None, None),
}


@pytest.mark.parametrize("kind", NAMED_IDS)
def test_every_id_in_an_uncertain_response_is_reported_the_likeliest_kept(kind: str) -> None:
    body, kept, named = NAMED_IDS[kind]
    fault = generate(answering(500, body))
    assert isinstance(fault, SubmissionUncertain)
    assert fault.video_id == kept
    assert (f"names {named}" in fault.message.partition(": ")[0]) if named else ("names" not in fault.message)


@pytest.mark.parametrize("kind", [kind for kind, (_, _, named) in NAMED_IDS.items() if "video v" in str(named)])
def test_a_refusal_that_names_a_video_anywhere_may_have_been_paid_for(kind: str) -> None:
    body, *_ = NAMED_IDS[kind]
    assert type(generate(answering(422, {"ok": False, **body}))).__name__ == "SubmissionUncertain"


@pytest.mark.parametrize(
    "body", [b'{"data": {"video_id": "v1', b'{"data": {"video_id": 12', {"data": {"video_id": PROMPT}}]
)
def test_an_uncertain_answer_names_no_video_by_half_or_by_private_text(body: object) -> None:
    fault = generate(answering(202, body))
    assert isinstance(fault, SubmissionUncertain)
    assert fault.video_id is None
    assert "video_id" not in fault.document()


IDS = {
    "uuid": ("22222222-2222-2222-2222-222222222222", "22222222-2222-2222-2222-222222222222"),
    "integer": (5, "5"),
    "large integer": (123456789012345678901234567890, "123456789012345678901234567890"),
    "fraction that is none": (5.0, "5"),
    "path": ("videos/5", "videos%2F5"),
    "query": ("v?x=1&y", "v%3Fx%3D1%26y"),
    "escape": ("50%2F", "50%252F"),
    "blank": ("a video", "a%20video"),
    "beyond ASCII": ("vidéo-猫", "vid%C3%A9o-%E7%8C%AB"),
    "fragment": ("a#b", "a%23b"),
}


@pytest.mark.parametrize("kind", IDS)
def test_an_id_of_any_printable_form_is_taken_and_asked_for(kind: str) -> None:
    given, escaped = IDS[kind]
    vendor = answering(202, {"ok": True, "data": {"video_id": given, "status": "processing"}})
    client = client_of(vendor)
    video_id = client.generate(BODY, idempotency_key="job-1").video_id
    assert video_id == (given if isinstance(given, str) else escaped)
    assert client.get_video(video_id).status == "processing"
    assert vendor.requests[-1].url.raw_path == f"/api/partner/v1/studio/videos/{escaped}".encode()


@pytest.mark.parametrize("body", [b"", b"<html><h1>403 Forbidden</h1>", b'{"message": "Forbidden"}', b"[1]", b'"no"'])
def test_a_firewalls_refusal_is_no_trouble_of_the_account(body: bytes) -> None:
    """It may have blocked the request, or the answer to a request that was paid for."""
    for status in (402, 403):
        vendor = answering(status, body)
        assert type(generate(vendor)).__name__ == "SubmissionUncertain"
        assert type(read_status(vendor)).__name__ == "GenviralUnavailable"
        assert [request.method for request in vendor.requests] == ["POST", "GET"]
    # A 401 is about the key, whichever server sent it.
    assert (
        type(generate(answering(401, body))).__name__
        == type(read_status(answering(401, body))).__name__
        == "AuthenticationFailed"
    )


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"message": "Your prompt was blocked by our safety system"}, "Your prompt was blocked by our safety system"),
        ({"message": {"detail": "No"}}, "No"),
        ({"error": {"message": "No", "code": "blocked"}}, "No (blocked)"),
        ({"detail": [{"loc": ["body"], "msg": "No"}, {"msg": "Never"}]}, "No; Never"),
        ({"message": "", "error": "No"}, "No"),
        ({"errors": ["No", {"message": "Never", "code": "blocked"}]}, "No; Never (blocked)"),
        ({"errors": {"prompt": ["is blocked"]}}, "is blocked"),
        ({"title": "Bad Request", "detail": "The prompt is blocked"}, "The prompt is blocked"),
        ({"data": {"error": {"message": "No"}}}, "No"),
        ({"message": "", "code": "moderation_blocked"}, "moderation_blocked"),
        ({"message": None, "error_code": "nsfw"}, "nsfw"),
        ({"code": "400"}, None),
        ({}, None),
    ],
)
def test_a_400_is_reported_in_the_vendors_words(said: dict[str, Any], shown: str | None) -> None:
    fault = generate(answering(400, {"ok": False, "code": 400, **said}))
    assert (type(fault).__name__, fault.paid) == ("RequestRejected", Paid.NO)
    assert fault.message == f"Genviral refused the request (HTTP 400){f': {shown}' if shown else '.'}"
    assert fault.advice.startswith("Nothing was charged.")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"Your prompt was blocked\r\n", "Your prompt was blocked"),
        ("Geht nicht: gesch\u00fctzt".encode("utf-8-sig"), "Geht nicht: gesch\u00fctzt"),
        (b'"Your prompt was blocked"', "Your prompt was blocked"),
        (b'["No", "Never"]', "No; Never"),
        (b"{blocked}", "{blocked}"),
        (f"Blocked: {PROMPT}, see https://g.example/a?token=1".encode(), "Blocked: [\u2026], see https://g.example/a"),
        (b"No " * 90_000, "No " * 99 + "No\u2026"),
        (b"<html><h1>400 Bad Request</h1>", None),
        (b"\n <?xml version='1.0'?><Error/>", None),
        (b"\x00\x01\x02\xff", None),
        (b"", None),
    ],
)
def test_a_refusal_in_plain_text_is_shown_and_markup_is_not(body: bytes, shown: str | None) -> None:
    fault = generate(answering(400, body))
    assert (type(fault).__name__, fault.paid) == ("RequestRejected", Paid.NO)
    assert fault.message == f"Genviral refused the request (HTTP 400){f': {shown}' if shown else '.'}"


PACKED: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "gzip": (gzip.compress, "gzip"),
    "gzip without the header": (gzip.compress, None),
    "deflate": (zlib.compress, "deflate"),
    "gzip over plain JSON": (bytes, "gzip"),
    "br over plain JSON": (bytes, "br"),
    "an empty encoding": (bytes, ""),
    "a guard against scripts": (lambda body: b")]}'\n" + body, None),
    "a loop against scripts": (lambda body: b"for (;;); " + body, None),
    "a callback": (lambda body: b"callback(" + body + b");", None),
    "a list of one": (lambda body: b"[" + body + b"]", None),
    "an event": (lambda body: b"data: " + body + b"\n\n", None),
}


@pytest.mark.parametrize("pieces", [1, 7, 1 << 20], ids=["byte by byte", "in pieces", "at once"])
@pytest.mark.parametrize("kind", PACKED)
def test_an_answer_is_read_however_it_is_packed(kind: str, pieces: int) -> None:
    pack, encoding = PACKED[kind]
    headers = {} if encoding is None else {"Content-Encoding": encoding}

    def answered(body: object) -> Vendor:
        packed = pack(json.dumps(body).encode())
        cut = [packed[at : at + pieces] for at in range(0, len(packed), pieces)]
        return Vendor(lambda _: httpx.Response(202, content=iter(cut), headers=headers))

    accepted = {"ok": True, "data": {"video_id": "v1"}}
    assert client_of(answered(accepted)).generate(BODY, idempotency_key="job-1").video_id == "v1"
    fault = generate(answered({"data": {"id": "v1"}}))
    assert isinstance(fault, SubmissionUncertain)
    assert fault.video_id == "v1"


def test_a_small_answer_that_unpacks_to_a_large_one_is_read_to_the_limit() -> None:
    bomb = gzip.compress(b'{"data": {"id": "v1"}, "x": "' + bytes(1 << 26))
    tracemalloc.start()
    fault = generate(answering(202, bomb))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(fault, SubmissionUncertain)
    assert fault.video_id == "v1"
    assert peak < 8 << 20


@pytest.mark.parametrize("status", [408, 409])
def test_a_refusal_that_may_hide_an_earlier_attempt_admits_it(status: int) -> None:
    fault = generate(answering(status, refusal(status)))
    assert (type(fault).__name__, fault.paid) == ("SubmissionUncertain", Paid.UNKNOWN)
    assert "new job" not in fault.advice


@pytest.mark.parametrize(
    ("error", "posted", "read"),
    [
        (httpx.ConnectError, "GenviralUnreachable", "GenviralUnreachable"),
        (httpx.ConnectTimeout, "GenviralUnreachable", "GenviralUnreachable"),
        (httpx.PoolTimeout, "GenviralUnreachable", "GenviralUnreachable"),
        (httpx.LocalProtocolError, "GenviralUnreachable", "GenviralUnreachable"),
        (httpx.ReadTimeout, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.WriteTimeout, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.WriteError, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.ReadError, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.CloseError, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.RemoteProtocolError, "SubmissionUncertain", "GenviralUnavailable"),
        (httpx.DecodingError, "SubmissionUncertain", "GenviralUnavailable"),
    ],
)
def test_a_missing_response_is_classed_by_whether_the_request_was_sent(
    error: type[httpx.RequestError], posted: str, read: str
) -> None:
    vendor = failing(error)
    for call, name in ((generate, posted), (read_status, read)):
        fault = call(vendor)
        assert type(fault).__name__ == name
        assert "low-level" not in str(fault)
        assert fault.__cause__ is None
    assert [request.method for request in vendor.requests] == ["POST", "GET"]


@pytest.mark.parametrize(
    ("status", "ok", "name"),
    [
        (202, b"true", "SubmissionUncertain"),
        (402, b"true", "SubmissionUncertain"),
        (402, b"false", "SubscriptionRequired"),
    ],
)
def test_a_body_that_breaks_off_leaves_the_word_to_the_status(status: int, ok: bytes, name: str) -> None:
    def broken() -> Iterator[bytes]:
        yield b'{"ok": ' + ok + b", "
        raise httpx.ReadError("reset")

    vendor = Vendor(lambda _: httpx.Response(status, content=broken()))
    assert type(generate(vendor)).__name__ == name
    assert len(vendor.requests) == 1


def test_a_refused_key_is_read_anew_once() -> None:
    def gate(request: httpx.Request) -> httpx.Response:
        good = request.headers["Authorization"] == "Bearer new.key"
        return httpx.Response(202, json=ACCEPTED) if good else httpx.Response(401, json=refusal(401, "invalid_token"))

    vendor = Vendor(gate)
    client_of(vendor, "old.key", "new.key").generate(BODY, idempotency_key="job-1")
    assert [request.headers["Authorization"] for request in vendor.requests] == ["Bearer old.key", "Bearer new.key"]
    assert len({(request.content, request.headers["Idempotency-Key"]) for request in vendor.requests}) == 1

    for keys, requests in ((("old.key", "also.bad"), 2), (("old.key", "old.key"), 1), (("old.key", ""), 1)):
        vendor = Vendor(gate)
        with pytest.raises(GenviralFault) as caught:
            client_of(vendor, *keys).generate(BODY, idempotency_key="job-1")
        assert type(caught.value).__name__ == "AuthenticationFailed"
        assert len(vendor.requests) == requests


@pytest.mark.parametrize(
    ("took", "call", "requests"), [(10, "POST", 2), (20, "POST", 1), (20, "GET", 2), (50, "GET", 1)]
)
def test_a_renewed_key_is_tried_in_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch, took: float, call: str, requests: int
) -> None:
    """A paid call without time for its answer would have an unknown outcome."""
    now = 1000.0
    allowed: list[float] = []

    class Timer(threading.Timer):
        def __init__(self, seconds: float, act: Callable[[], None]) -> None:
            allowed.append(seconds)
            super().__init__(60, act)

    def late(_: httpx.Request) -> httpx.Response:
        nonlocal now
        now += took
        return httpx.Response(401, json=refusal(401, "invalid_token"))

    monkeypatch.setattr(client_module, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(client_module, "threading", SimpleNamespace(Timer=Timer))
    vendor = Vendor(late)
    fault = (generate if call == "POST" else read_status)(vendor, "old.key", "new.key")
    assert type(fault).__name__ == "AuthenticationFailed"
    assert len(vendor.requests) == requests
    assert allowed == [45.0, 45.0 - took][:requests]


@pytest.mark.parametrize("key", ["", " ", "pub.sk\n", "pub sk", "pub.sk\x00", "pub.šk", None])
def test_a_key_that_is_no_header_value_is_never_sent(key: str) -> None:
    vendor = answering(202, ACCEPTED)
    with pytest.raises(GenviralFault) as caught:
        client_of(vendor, key).generate(BODY, idempotency_key="job-1")
    assert type(caught.value).__name__ == "AuthenticationFailed"
    assert not vendor.requests


def test_a_client_reads_no_certificates_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading them takes longer than the rest, and would happen while a Lambda starts."""
    monkeypatch.setattr(ssl, "create_default_context", lambda *_, **__: pytest.fail("a second TLS context"))
    GenviralClient(lambda _: KEY, base_url=BASE_URL, timeouts=Timeouts()).close()


def test_a_key_that_cannot_be_one_is_read_anew_before_it_is_refused() -> None:
    """It never reaches the vendor, and the empty key of a new stack would stay cached for minutes."""
    vendor = answering(202, ACCEPTED)
    client_of(vendor, "", "new.key").generate(BODY, idempotency_key="job-1")
    client_of(vendor, "", "new.key").check_key()
    assert [request.headers["Authorization"] for request in vendor.requests] == ["Bearer new.key"]


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, b"bytes"])
def test_a_body_that_is_no_json_is_never_sent(value: object) -> None:
    vendor = answering(202, ACCEPTED)
    with pytest.raises(InvalidPayload):
        client_of(vendor).generate({**BODY, "raw_params": {"x": value}}, idempotency_key="job-1")
    assert not vendor.requests


@pytest.mark.parametrize("idempotency_key", ["", "a b", "jöb", "x" * 256])
def test_a_useless_idempotency_key_is_a_mistake_of_the_caller(idempotency_key: str) -> None:
    vendor = answering(202, ACCEPTED)
    with pytest.raises(ValueError, match="idempotency_key"):
        client_of(vendor).generate(BODY, idempotency_key=idempotency_key)
    assert not vendor.requests


@pytest.mark.parametrize(
    "base_url", ["", "www.genviral.io/api", "ftp://genviral.io", "https://", "https://g.io/?key=1"]
)
def test_a_useless_base_url_is_a_mistake_of_the_caller(base_url: str) -> None:
    with pytest.raises(ValueError, match="base_url"):
        GenviralClient(lambda _: KEY, base_url=base_url, timeouts=Timeouts())


def test_a_refusals_details_are_passed_on_without_private_text() -> None:
    said = refusal(
        402,
        "insufficient_credits",
        message=f"Not enough credits for '{PROMPT}' with {KEY}\n<b>now</b>",
        remediation_hint="Top up at https://www.genviral.io/billing?session=abc",
        action_url="https://www.genviral.io/billing?session=abc",
        issues=[{"path": ["params", "fps"], "message": f"not {PROMPT}"}, {"path": "prompt"}, "odd"],
    )
    fault = generate(answering(402, said, **{"Retry-After": "7"}))
    assert fault.message == (
        "Genviral refused the request (HTTP 402): Not enough credits for '[…]' with […] now. "
        "Top up at https://www.genviral.io/billing"
    )
    assert fault.action_url == "https://www.genviral.io/billing"
    assert fault.issues == (
        {"path": "params.fps", "message": "not […]"},
        {"path": "prompt", "message": "is not accepted"},
    )
    assert fault.retry_after == 7


def test_retry_after_is_seconds_or_a_date_and_at_most_an_hour() -> None:
    def waited(value: str) -> float | None:
        return generate(answering(429, refusal(429, "rate_limited"), **{"Retry-After": value})).retry_after

    assert [waited(value) for value in ("0", "1.5", "9" * 400)] == [0, 1.5, 3_600]
    assert [waited(value) for value in ("", "soon", "-5", "nan", "Mon, 99 Foo 99999 00:00:00 GMT")] == [None] * 5
    now = datetime.now(UTC)
    soon = waited(format_datetime(now + timedelta(minutes=30), usegmt=True))
    assert soon is not None
    assert 1_700 < soon <= 1_800
    assert waited(format_datetime(now + timedelta(days=2), usegmt=True)) == 3_600
    assert waited(format_datetime(now - timedelta(days=2), usegmt=True)) == 0


def video(status: object, **more: object) -> dict[str, Any]:
    return {"ok": True, "code": 200, "data": {"video_id": "v1", "status": status, "credits_used": 5, **more}}


@pytest.mark.parametrize(
    ("data", "status", "output_url", "error"),
    [
        ({"status": "processing"}, "processing", None, None),
        ({"status": "warming_up", "output_url": "https://cdn.example/v.mp4"}, "processing", None, None),
        (
            {"status": "succeeded", "output_url": "https://cdn.example/v?s=1"},
            "succeeded",
            "https://cdn.example/v?s=1",
            None,
        ),
        ({"status": "succeeded", "output_url": None}, "processing", None, None),
        ({"status": "succeeded", "output_url": ""}, "processing", None, None),
        ({"status": "succeeded"}, "processing", None, None),
        ({"status": "failed", "error": "Blocked <b>by</b> policy"}, "failed", None, "Blocked by policy"),
    ],
)
def test_a_poll_of_a_video(data: dict[str, Any], status: str, output_url: str | None, error: str | None) -> None:
    vendor = answering(200, video(**data))
    seen = client_of(vendor).get_video("v1")
    assert (seen.status, seen.raw_status, seen.credits_used) == (status, data["status"], 5)
    assert (seen.output_url, seen.error) == (output_url, error)
    assert "cdn.example" not in repr(seen)


@pytest.mark.parametrize(
    ("word", "status", "other_word"),
    [
        ("Processing", "processing", None),
        (" PROCESSING\n", "processing", None),
        ("SUCCEEDED", "succeeded", None),
        (" Succeeded ", "succeeded", None),
        ("FAILED", "failed", None),
        ("Queued", "processing", "Queued"),
        ("completed", "processing", "completed"),
        ("<b>on</b> the way", "processing", "on the way"),
        ("x" * 5_000, "processing", "x" * 99 + "…"),
    ],
)
def test_a_status_ignores_case_and_blanks_and_unknown_words_are_kept(
    word: str, status: str, other_word: str | None
) -> None:
    seen = client_of(answering(200, video(word, output_url="https://cdn.example/v", error="no"))).get_video("v1")
    assert (seen.status, seen.other_word, seen.lacks_link) == (status, other_word, False)


URL = "https://cdn.example/v"
FORMS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "null and a link": ({"status": None, "output_url": URL}, "succeeded", None),
    "none and a link": ({"output_url": URL}, "succeeded", None),
    "a number and a link": ({"status": 3, "output_url": URL}, "succeeded", None),
    "a digit and a link": ({"status": "3", "output_url": URL}, "succeeded", None),
    "blank and a link": ({"status": " ", "output_url": URL}, "succeeded", None),
    "true and a link": ({"status": True, "output_url": URL}, "succeeded", None),
    "a list of the word and a link": ({"status": ["Succeeded"], "output_url": URL}, "succeeded", None),
    "an object with the word and a link": ({"status": {"code": "succeeded"}, "output_url": URL}, "succeeded", None),
    "an empty list and a link": ({"status": [], "output_url": URL}, "succeeded", None),
    "a list of another word and a link": ({"status": ["queued"], "output_url": URL}, "processing", "queued"),
    "a list of the word": ({"status": ["processing"]}, "processing", None),
    "a list of the word, failed": ({"status": ["failed"], "error": "no"}, "failed", None),
    "blank": ({"status": " "}, "processing", "(blank)"),
    "a number": ({"status": 3}, "processing", "3"),
    "a number and no web link": ({"status": 3, "output_url": "n/a"}, "processing", "3"),
    "null": ({"status": None}, None, None),
    "null and no web link": ({"status": None, "output_url": "pending"}, None, None),
    "null and a reason": ({"status": None, "error": "no"}, None, None),
    "an empty object": ({"status": {}}, None, None),
}


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("status_last", [True, False])
def test_a_status_that_is_no_word_leaves_the_word_to_the_link(kind: str, status_last: bool) -> None:
    data, status, other_word = FORMS[kind]
    vendor = answering(200, {"ok": True, "data": dict(reversed(data.items())) if status_last else data})
    if status is None:
        assert type(read_status(vendor)).__name__ == "GenviralUnavailable"
        return
    seen = client_of(vendor).get_video("v1")
    assert (seen.status, seen.other_word) == (status, other_word)
    assert seen.output_url == (URL if status == "succeeded" else None)


LINKS = {
    "a space": ("https://cdn.example/my video.mp4", "https://cdn.example/my video.mp4"),
    "beyond ASCII": ("https://cdn.example/猫.mp4", "https://cdn.example/猫.mp4"),
    "blanks around it": (" https://cdn.example/v\n", "https://cdn.example/v"),
    "no scheme": ("//cdn.example/v", "https://cdn.example/v"),
    "http": ("http://cdn.example/v", "http://cdn.example/v"),
    "a list": (["https://cdn.example/v"], "https://cdn.example/v"),
    "a list with a gap": ([None, "", "https://cdn.example/v"], "https://cdn.example/v"),
    "an object": ({"url": "https://cdn.example/v", "width": 5}, "https://cdn.example/v"),
    "an object within": ({"video": {"href": "https://cdn.example/v"}}, "https://cdn.example/v"),
    # These are no links, and the delivery must report that.
    "no address": ("n/a", "n/a"),
    "a path": ("/v.mp4", "/v.mp4"),
    "a file": ("file:///etc/passwd", "file:///etc/passwd"),
    "a script": ("javascript:alert(1)", "javascript:alert(1)"),
    "a number": (5, "5"),
    "true": (True, "True"),
    "an unknown object": ({"kind": "n/a"}, "n/a"),
    # Nothing there yet.
    "null": (None, None),
    "blank": (" ", None),
    "false": (False, None),
    "an empty list": ([], None),
    "an empty object": ({}, None),
    "an object with a gap": ({"url": None, "width": 5}, None),
}


@pytest.mark.parametrize("kind", LINKS)
def test_all_that_is_given_for_a_link_goes_on_to_the_delivery(kind: str) -> None:
    given, output_url = LINKS[kind]
    seen = client_of(answering(200, video("Succeeded", output_url=given))).get_video("v1")
    assert (seen.status, seen.output_url) == ("succeeded" if output_url else "processing", output_url)
    assert (seen.lacks_link, seen.other_word) == ((False, None) if output_url else (True, "Succeeded"))


def test_a_video_in_place_of_its_link_is_no_link() -> None:
    """A data URL of megabytes is cut, and still reaches the delivery, which refuses it."""
    given = "data:video/mp4;base64," + "A" * 3_000_000
    seen = client_of(answering(200, video("succeeded", output_url=given))).get_video("v1")
    assert seen.output_url is not None
    assert given.startswith(seen.output_url)
    assert 8_192 < len(seen.output_url) < 100_000


REASONS: dict[str, tuple[object, str | None]] = {
    "message and code": (
        {"code": "content_policy", "message": "The image shows a public figure"},
        "The image shows a public figure (content_policy)",
    ),
    "message and detail": ({"message": "Bad request", "detail": "Too dark"}, "Bad request; Too dark"),
    "the same twice": ({"message": "Too dark", "detail": "Too dark"}, "Too dark"),
    "within an object": ({"error": {"message": "Too dark", "code": 7}}, "Too dark (7)"),
    "a list of texts": (["Too dark", "Too small"], "Too dark; Too small"),
    "a list of objects": (
        [{"msg": "Too dark", "loc": ["image"]}, None, {"detail": "Too small"}],
        "Too dark; Too small",
    ),
    "a code alone": ({"code": 1}, "1"),
    "names of its own": ({"why": {"text": "Too dark"}}, "Too dark"),
    "markup and links": (
        {"message": "<b>Too</b> dark, see https://g.example/a?token=1"},
        "Too dark, see https://g.example/a",
    ),
    "no end": ({"message": "x" * 60_000}, "x" * 299 + "…"),
    "a great depth": (json.loads("[" * 300 + '"Too dark"' + "]" * 300), None),
    "JSON in a text": ('{"code": "x", "message": "Too dark"}', "Too dark (x)"),
    "what begins like JSON": ("[blocked] Too dark", "[blocked] Too dark"),
    "nothing": ({}, None),
    "null": (None, None),
    "true": (True, None),
    "blank": ("  ", None),
}


@pytest.mark.parametrize("kind", REASONS)
def test_a_reason_of_any_form_becomes_a_text(kind: str) -> None:
    given, shown = REASONS[kind]
    assert client_of(answering(200, video("failed", error=given))).get_video("v1").error == shown


ELSEWHERE: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "a reason of the failure": ({"failure_reason": "Too dark"}, {}, "Too dark"),
    "a message": ({"error": "", "message": "Too dark"}, {}, "Too dark"),
    "a list of errors": ({"error": {}, "errors": ["Too dark", "Too small"]}, {}, "Too dark; Too small"),
    "beside the data": ({"error": None}, {"message": "Upstream refused"}, "Upstream refused"),
    "the data's before the other": ({"message": "Too dark"}, {"message": "Upstream refused"}, "Too dark"),
    "beside the data, of the answer": ({}, {"message": "Video retrieved successfully"}, None),
    "beside the data, of the answer in short": ({}, {"message": "OK."}, None),
    "beside the data, no success": ({}, {"message": "Unsuccessful: too dark"}, "Unsuccessful: too dark"),
}


@pytest.mark.parametrize("kind", ELSEWHERE)
def test_the_reason_of_a_failure_is_found_where_error_is_empty(kind: str) -> None:
    data, beside, shown = ELSEWHERE[kind]
    body = {"ok": True, **beside, "data": {"status": "failed", **data}}
    assert client_of(answering(200, body)).get_video("v1").error == shown


def test_fields_beside_an_unknown_status_are_kept_beside_a_known_one_not() -> None:
    said = {"message": "Too dark"}
    seen = [
        client_of(answering(200, video(word, error=said))).get_video("v1").error for word in ("on hold", "processing")
    ]
    assert seen == ["Too dark", None]


def test_an_answer_that_is_longer_than_is_read_did_not_break_off() -> None:
    long = {"data": {"logs": "x" * MAX_BODY_BYTES}, "ok": True}
    assert read_status(answering(200, long)).message == (
        "Genviral gave no usable answer in 16 MiB, and no more is read (HTTP 200)."
    )
    assert "16 MiB" in generate(answering(202, long)).message


@pytest.mark.parametrize(
    ("status", "body"),
    [(401, b""), (403, refusal(403, "tier_not_allowed")), (429, b""), (402, refusal(402, "insufficient_credits"))],
)
def test_a_refused_poll_is_reported_as_refused(status: int, body: object) -> None:
    assert read_status(answering(status, body)).message.startswith(f"Genviral refused to answer (HTTP {status})")


@pytest.mark.parametrize("early", [True, False], ids=["status first", "status last"])
@pytest.mark.parametrize("word", ["processing", "succeeded", "failed"])
def test_a_poll_of_megabytes_is_read_no_further_than_needed(word: str, early: bool) -> None:
    """The vendor may repeat the request and its media, and add the model's log."""
    facts = {"status": word, "output_url": "https://cdn.example/v", "error": "no"}
    bulk = {"input": {"image": "A" * 1_000_000}, "logs": [{"at": 1, "line": '}"]\\'}] * 100_000}
    body = json.dumps({"ok": True, "data": facts | bulk if early else bulk | facts}).encode()
    taken = 0

    def pieces() -> Iterator[bytes]:
        nonlocal taken
        for position in range(0, len(body), 65_536):
            taken += 1
            yield body[position : position + 65_536]

    vendor = Vendor(lambda _: httpx.Response(200, content=pieces()))
    assert client_of(vendor).get_video("v1").status == word
    assert taken == (1 if early else -(-len(body) // 65_536))


def test_an_accepted_video_is_found_behind_megabytes() -> None:
    data = {"input": "A" * 3_000_000, "video_id": "v1", "credits_used": 5}
    with client_of(answering(202, {"ok": True, "data": data})) as client:
        assert client.generate(BODY, idempotency_key="job-1").video_id == "v1"


@pytest.mark.parametrize("word", ["succeeded", "failed"])
def test_a_poll_that_breaks_off_before_its_link_or_reason_is_repeated(word: str) -> None:
    """Otherwise it would be reported as a success without a link, or a failure without a reason."""
    broken = f'{{"ok": true, "data": {{"status": "{word}", "credits_used": 5, "out'.encode()
    fault = read_status(answering(200, broken))
    assert (type(fault).__name__, fault.message) == ("GenviralUnavailable", "Genviral broke off its answer (HTTP 200).")


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    vendor = answering(200, video("processing"))
    client_of(vendor).get_video("../models?mode=video#ä/\ud800")
    (request,) = vendor.requests
    assert request.url.raw_path == b"/api/partner/v1/studio/videos/..%2Fmodels%3Fmode%3Dvideo%23%C3%A4%2F%3F"
    for odd in ("", ".", ".."):
        with pytest.raises(GenviralFault, match="VideoNotFound"):
            client_of(vendor).get_video(odd)
    assert len(vendor.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "name"),
    [
        (404, refusal(404, "video_not_found"), "VideoNotFound"),
        (404, b"<html>", "VideoNotFound"),
        (422, refusal(422, "video_not_found"), "VideoNotFound"),
        (401, refusal(401), "AuthenticationFailed"),
        (402, refusal(402, "subscription_required"), "SubscriptionRequired"),
        (403, refusal(403, "tier_not_allowed"), "TierNotAllowed"),
        (403, refusal(403, "insufficient_credits"), "InsufficientCredits"),
        (200, refusal(402, "insufficient_credits"), "InsufficientCredits"),
        (403, refusal(403), "TierNotAllowed"),
        (429, b"", "RateLimited"),
        # No other result of a poll may end a paid job.
        (400, refusal(400, "invalid_json"), "GenviralUnavailable"),
        (422, refusal(422, "invalid_payload"), "GenviralUnavailable"),
        (500, refusal(500, "generation_failed"), "GenviralUnavailable"),
        (502, b"<html>", "GenviralUnavailable"),
        (307, b"", "GenviralUnavailable"),
        (200, b"", "GenviralUnavailable"),
        (200, {"ok": True, "data": None}, "GenviralUnavailable"),
        (200, {"ok": True, "data": {"status": None}}, "GenviralUnavailable"),
        (200, {"data": {"status": "failed"}}, "GenviralUnavailable"),
    ],
)
def test_a_failed_poll_knows_that_the_video_was_paid_for(status: int, body: object, name: str) -> None:
    fault = read_status(answering(status, body))
    assert (type(fault).__name__, fault.paid) == (name, Paid.YES)


def test_models_are_read_defensively() -> None:
    entries = [
        {
            "id": "bytedance/seedance-2.0",
            "name": "Seedance 2.0",
            "provider": "fal",
            "credits": {"default_cost": 5},
            "inputs": {"required": ["prompt"], "optional": ["image_url", {"name": "odd"}]},
        },
        {"id": "bare/model", "credits": 5, "inputs": [], "name": None},
        {"name": "no id"},
        "odd",
    ]
    vendor = answering(200, {"ok": True, "data": {"models": entries}})
    full, bare = client_of(vendor).list_models()
    assert str(vendor.requests[0].url) == f"{BASE_URL}/studio/models?mode=video"
    assert (full.id, full.name, full.provider) == ("bytedance/seedance-2.0", "Seedance 2.0", "fal")
    assert (full.default_cost, full.required, full.optional) == (5, ("prompt",), ("image_url",))
    assert (bare.name, bare.default_cost, bare.required) == ("bare/model", None, ())
    for status, body in ((200, {"ok": True, "data": {}}), (422, refusal(422, "invalid_query")), (404, b"")):
        with pytest.raises(GenviralFault) as caught:
            client_of(answering(status, body)).list_models()
        assert (type(caught.value).__name__, caught.value.paid) == ("GenviralUnavailable", Paid.NO)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([PROMPT, KEY, "v1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
coded = st.sampled_from([code for row in TABLE for code in row.codes]) | json_values
issue = st.fixed_dictionaries({}, optional={"path": json_values, "message": json_values})
envelopes = st.fixed_dictionaries(
    {"ok": st.booleans() | json_values},
    optional={
        "message": json_values,
        "error_code": coded,
        "data": st.fixed_dictionaries({}, optional={"video_id": json_values, "status": json_values}) | json_values,
        "issues": st.lists(issue, max_size=3) | json_values,
        "action_url": json_values,
        "remediation_hint": json_values,
    },
)
bodies = st.binary(max_size=64) | (envelopes | json_values).map(lambda value: json.dumps(value).encode())


@given(st.integers(200, 599), bodies, st.text(st.characters(codec="ascii", categories=["L", "N", "P"])))
def test_whatever_the_vendor_answers(status: int, body: bytes, retry_after: str) -> None:
    vendor = answering(status, body, **{"Retry-After": retry_after})
    client = client_of(vendor)
    generation = outcome(lambda: client.generate(BODY, idempotency_key="job-1"))
    assert len(vendor.requests) == 1
    if isinstance(generation, Generation):
        assert status in (200, 201, 202)
        assert json.loads(body)["ok"] is True
        given = json.loads(body)["data"]["video_id"]
        assert generation.video_id == (given.strip() if isinstance(given, str) else str(int(given))) != ""
    for result in (generation, outcome(lambda: client.get_video("v1")), outcome(client.list_models)):
        if isinstance(result, GenviralFault):
            assert isinstance(json.loads(str(result)), dict)
            assert KEY not in str(result)
    if isinstance(generation, GenviralFault):
        assert PROMPT not in str(generation)


def test_nothing_private_is_logged_or_printed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    vendor = answering(200, video("succeeded", output_url="https://cdn.example/v.mp4?sig=1"))
    client = client_of(vendor)
    client.get_video("v1")
    generate(answering(500, refusal(500, "generation_failed", message=PROMPT)))
    seen = caplog.text + repr(client) + repr(vars(client))
    for private in (KEY, PROMPT, "cdn.example"):
        assert private not in seen


def test_the_client_costs_no_pydantic_and_no_boto() -> None:
    heavy = "{'pydantic', 'boto3', 'botocore', 'aws_lambda_powertools'}"
    code = f"import sys, shared.genviral.client; print(sorted({heavy} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)  # noqa: S603
    assert ran.stdout.strip() == "[]"
