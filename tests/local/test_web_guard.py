"""Test which requests count as a web page's."""

from __future__ import annotations

import pytest

from local.web_guard import Sender, refused

HOME = ("Host", "127.0.0.1:4566")
OWN = "http://127.0.0.1:4566"


@pytest.mark.parametrize(
    "headers",
    [
        [HOME],
        [],
        [("HOST", "localhost:4566")],
        [("host", "bucket.s3.localhost:4566")],
        [("host", "[::1]:4566")],
        [("host", "localhost.")],
        [HOME, ("user-agent", "curl/8"), ("content-type", "application/x-www-form-urlencoded")],
        [HOME, ("sec-fetch-site", "none")],
        [HOME, ("sec-fetch-site", "same-origin"), ("origin", OWN), ("referer", f"{OWN}/page?x=1")],
    ],
)
def test_programs_and_what_a_person_typed_are_served(headers: list[tuple[str, str]]) -> None:
    assert not refused(headers)


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "evil.example:4566")],
        [("Host", "127.0.0.1.evil.example:4566")],
        [("Host", "evil-localhost:4566")],
        [("Host", "localhost.evil.example")],
        [("Host", "192.168.1.7:4566")],
        [("Host", "127.0.0.1@evil.example")],
        [("Host", "")],
        [HOME, ("host", "evil.example")],
        [HOME, HOME],
        [HOME, ("Origin", "https://evil.example")],
        [HOME, ("origin", "null")],
        [HOME, ("origin", "")],
        [HOME, ("Origin", "http://127.0.0.1:8000")],
        [HOME, ("Origin", "https://127.0.0.1:4566")],
        [HOME, ("Origin", OWN), ("Origin", "https://evil.example")],
        [HOME, ("Sec-Fetch-Site", "cross-site")],
        [HOME, ("Sec-Fetch-Site", "same-site")],
        [HOME, ("Sec-Fetch-Site", "Cross-Site ")],
        [HOME, ("Sec-Fetch-Site", "of a later standard")],
        [HOME, ("Sec-Fetch-Site", "none"), ("Origin", "https://evil.example")],
        [HOME, ("Referer", "https://evil.example/page")],
        [HOME, ("Referer", "http://[")],
    ],
)
def test_a_page_of_another_site_or_a_name_of_its_own_is_refused(headers: list[tuple[str, str]]) -> None:
    assert refused(headers)


@pytest.mark.parametrize(
    ("headers", "theirs"),
    [
        ([HOME, ("Origin", "https://www.example.com"), ("Sec-Fetch-Site", "cross-site")], True),
        ([HOME, ("Referer", "https://www.example.com/"), ("Sec-Fetch-Site", "cross-site")], True),
        ([HOME, ("Origin", "https://www.example.com"), ("Referer", "https://evil.example/")], False),
        ([HOME, ("Origin", "https://www.example.com.evil.example")], False),
        ([HOME, ("Sec-Fetch-Site", "cross-site")], False),
        ([HOME], False),
    ],
)
def test_a_page_is_of_the_origins_that_all_its_headers_name(headers: list[tuple[str, str]], theirs: bool) -> None:
    assert Sender(headers).is_page_of(["https://WWW.example.com"]) is theirs
