"""Test who gets into the console, and what every answer tells a browser."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ops import stack
from ops.console import server
from ops.exits import NotFound
from tests.support.consoles import OWN, PORT, Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.operators import CommandLine

CLOSED = ("/", "/static/index.html", "/api/jobs", "/api/events", "/media/x", "/media/x/upload", "/nothing")


@pytest.fixture
def page(account: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Page:
    assert account
    static = tmp_path / "static"
    static.mkdir()
    (static / "index.html").write_text("<p>The page")
    (tmp_path / "server.py").write_text("not for pages")
    monkeypatch.setattr(server, "STATIC", static)
    return Page()


@pytest.mark.parametrize("address", CLOSED)
def test_nothing_is_open_without_the_cookie(account: CommandLine, address: str) -> None:
    answer = Page(signed_in=False).http.get(address)
    assert answer.status_code == 401
    assert "Open the address that was printed" in answer.text


@pytest.mark.parametrize("token", ["", "x", "é", "0" * 32])
def test_a_wrong_token_gets_no_cookie(account: CommandLine, token: str) -> None:
    answer = Page(signed_in=False).http.get("/", params={"token": token})
    assert (answer.status_code, answer.headers.get("set-cookie")) == (401, None)


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_lack(account: CommandLine) -> None:
    page = Page(signed_in=False)
    answer = page.http.get("/", params={"token": page.access.token})
    cookie = answer.headers["set-cookie"]
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
    assert page.access.token not in cookie
    assert page.access.token not in repr(page.access)
    assert page.http.get("/api/session").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": f"evil.example:{PORT}"},
        {"Host": "127.0.0.1"},
        {"Host": f"127.0.0.1:{PORT + 1}"},
        {"Host": f"127.0.0.1:{PORT}.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{PORT + 1}"},
        {"Origin": f"https://127.0.0.1:{PORT}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_page_is_refused_even_with_the_cookie(page: Page, method: str, headers: dict[str, str]) -> None:
    address = "/api/jobs" if method == "GET" else "/api/intake"
    answer = page.http.request(method, address, headers={**OWN, **headers}, json={"stopped": True})
    assert (answer.status_code, answer.json()["error"]["kind"]) == (403, "refused")
    assert page.get("/api/overview")["intake_stopped"] is False


@pytest.mark.parametrize("missing", sorted(OWN))
def test_a_change_needs_the_pages_own_origin_and_header(page: Page, missing: str) -> None:
    headers = {name: value for name, value in OWN.items() if name != missing}
    answer = page.http.request("POST", "/api/intake", headers=headers, json={"stopped": True})
    assert answer.status_code == 403
    assert page.get("/api/overview")["intake_stopped"] is False


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}"])
def test_both_names_of_this_machine_are_its_own(account: CommandLine, host: str) -> None:
    page = Page(signed_in=False)
    answer = page.http.get("/", params={"token": page.access.token}, headers={"Host": host, "Origin": f"http://{host}"})
    assert answer.status_code == 303


@pytest.mark.parametrize("address", ["/", "/static/index.html", "/api/session", "/api/jobs/x", "/media/x", "/nothing"])
def test_every_answer_says_what_a_browser_must_not_do(page: Page, address: str) -> None:
    answer = page.http.get(address)
    headers = answer.headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if answer.text == "<p>The page" else "no-store")


def test_a_refused_upload_is_read_to_its_end_and_answered(account: CommandLine) -> None:
    left = [b"a", b"b", b"c"]

    async def parts() -> AsyncIterator[bytes]:
        while left:
            yield left.pop()

    answer = Page(signed_in=False).http.request("POST", "/api/uploads", content=parts(), headers=OWN)
    assert (answer.status_code, left) == (401, [])


def test_a_fault_of_the_console_is_told_without_what_it_held(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("A secret prompt")

    monkeypatch.setattr("ops.console.making.parse_request", fail)
    code, error = page.refused("POST", "/api/requests", {"prompt": "A secret prompt"})
    assert (code, error["kind"]) == (500, "failed")
    assert "secret" not in error["message"]


def test_a_path_cannot_leave_the_folder_of_static_files(page: Page) -> None:
    for address in (
        "/static/../../server.py",
        "/static//server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
    ):
        assert page.http.get(address).status_code == 404, address


def test_the_laptops_settings_need_not_be_sourced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "env"
    file.write_text(
        "# a note\nunset AWS_PROFILE AWS_SESSION_TOKEN\nexport AWS_ENDPOINT_URL=http://127.0.0.1:1\nexport X='a b'\n"
    )
    monkeypatch.setattr(stack, "_ENV_FILE", file)
    monkeypatch.setattr(os, "environ", {"AWS_PROFILE": "of-a-real-account"})
    stack.use_laptop()
    assert os.environ == {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "X": "a b"}
    file.unlink()
    with pytest.raises(NotFound, match="Start it with `up`"):
        stack.use_laptop()
