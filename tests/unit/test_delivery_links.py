"""Test what counts as a link: links are requested as every client would, and the guard checks the result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delivery.errors import OutputRefused
from shared.delivery.guard import check
from shared.delivery.limits import Limits
from shared.delivery.links import follow, normalize
from tests.support.links import MALFORMED

HOST = "https://cdn.example"
ENCODED = [
    ("blanks", f"{HOST}/a b.mp4?name=a b", f"{HOST}/a%20b.mp4?name=a%20b"),
    ("blanks around it", f" \t{HOST}/a.mp4 \r\n", f"{HOST}/a.mp4"),
    ("letters beyond ASCII", f"{HOST}/猫/é.mp4?x=ü", f"{HOST}/%E7%8C%AB/%C3%A9.mp4?x=%C3%BC"),
    ("an emoji", f"{HOST}/😀.mp4", f"{HOST}/%F0%9F%98%80.mp4"),
    ("a no-break space", f"{HOST}/a\u00a0b.mp4", f"{HOST}/a%C2%A0b.mp4"),
    ("escapes that are there", f"{HOST}/a%20b%C3%A9.mp4", f"{HOST}/a%20b%C3%A9.mp4"),
    ("a stray percent sign", f"{HOST}/100%.mp4", f"{HOST}/100%.mp4"),
    ("a signature", f"{HOST}/a.mp4?sig=a+b/c==&x={{1}}|~", f"{HOST}/a.mp4?sig=a+b/c==&x={{1}}|~"),
    ("what no path may hold", f'{HOST}/"<a>^`{{b}}"|~[1]', f"{HOST}/%22%3Ca%3E%5E%60%7Bb%7D%22|~[1]"),
    ("what no query may hold", f'{HOST}/a?x="<1>"^`{{}}?/', f"{HOST}/a?x=%22%3C1%3E%22^`{{}}?/"),
    ("an IPv6 address", "https://[2606:4700::1111]:443/v", "https://[2606:4700::1111]:443/v"),
    ("a host beyond ASCII", "https://bücher.example:443/é", "https://xn--bcher-kva.example:443/%C3%A9"),
    ("a sharp s, which is its own letter", "https://faß.example/", "https://xn--fa-hia.example/"),
    ("capitals", "HTTPS://CDN.Example/A", "HTTPS://CDN.Example/A"),
]
REDIRECTS = [
    ("a path", b"/b.mp4", f"{HOST}/b.mp4"),
    ("a relative path", b"b c.mp4?x=1 2", f"{HOST}/a/b%20c.mp4?x=1%202"),
    ("UTF-8", "/café/vidéo.mp4".encode(), f"{HOST}/caf%C3%A9/vid%C3%A9o.mp4"),
    ("Latin-1, whose bytes stay", "/café.mp4".encode("latin-1"), f"{HOST}/caf%E9.mp4"),
    ("another host", "https://bücher.example/é".encode(), "https://xn--bcher-kva.example/%C3%A9"),
    ("a query alone", b"?b=1", f"{HOST}/a/v.mp4?b=1"),
    ("no scheme", b"//other.example/b.mp4", "https://other.example/b.mp4"),
]
NO_LINK = ["n/a", "pending", "ftp://cdn.example/v.mp4", "//cdn.example/v.mp4", "/v.mp4", "data:video/mp4;base64,AAAA"]


@pytest.mark.parametrize(("link", "address"), [row[1:] for row in ENCODED], ids=[row[0] for row in ENCODED])
def test_a_link_is_encoded_as_every_client_does(link: str, address: str) -> None:
    assert normalize(link) == address
    assert normalize(address) == address
    check(address, Limits())


@pytest.mark.parametrize(("location", "address"), [row[1:] for row in REDIRECTS], ids=[row[0] for row in REDIRECTS])
def test_a_redirect_is_followed_as_every_client_does(location: bytes, address: str) -> None:
    assert follow(f"{HOST}/a/v.mp4?signature=1", location) == address


@pytest.mark.parametrize("link", NO_LINK)
def test_what_is_no_link_is_refused_with_the_reason(link: str) -> None:
    with pytest.raises(OutputRefused, match="is not an https link"):
        check(normalize(link), Limits())


@pytest.mark.parametrize(
    "link",
    [
        f"{HOST}/a\nb",
        f"{HOST}/a\x00b",
        f"{HOST}/\ud83d",
        "https://é..example/",
        "https://[::1]x/v",
        "https://x[::1]/v",
        "https://[::1]]/v",
        "https://[::1]:x/v",
        "https://\u200b/",
    ],
)
def test_what_no_address_can_carry_is_refused(link: str) -> None:
    with pytest.raises(OutputRefused):
        check(normalize(link), Limits())


# Harmless once encoded as a browser does: a host in another spelling, or a blank.
_HARMLESS = {"a space, which ends the request's path", "a leading space"}
_OF_ANOTHER_SPELLING = {"an ideographic full stop becomes a dot", "a letter that becomes another one"}
_NUMBERS = {"circled digits become 127.0.0.1"}  # refused when it is resolved: loopback is not public


@pytest.mark.parametrize(("url", "reason"), MALFORMED, ids=[reason for _, reason in MALFORMED])
def test_a_hostile_link_stays_refused_once_it_is_encoded(url: str, reason: str) -> None:
    if reason in _HARMLESS | _OF_ANOTHER_SPELLING | _NUMBERS:
        host = check(normalize(url), Limits()).host
        assert host in ("cdn.example", "example.com", "127.0.0.1")
        return
    with pytest.raises(OutputRefused):
        check(normalize(url), Limits())


@given(st.text(max_size=60), st.binary(max_size=60))
def test_any_text_is_an_address_or_refused(text: str, location: bytes) -> None:
    for link in (text, f"https://{text}", f"{HOST}/{text}"):
        try:
            assert normalize(link).isprintable()
        except OutputRefused as error:
            assert error.message.startswith("The link to the video")  # noqa: PT017
    try:
        assert follow(f"{HOST}/a", location).isascii()
    except OutputRefused as error:
        assert error.message.startswith("The link to the video")  # noqa: PT017
