"""Test the guard with hostile links, each with the reason why someone would try it."""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delivery.errors import OutputRefused, OutputUnreachable
from shared.delivery.guard import check, is_public, resolve
from shared.delivery.limits import Limits
from tests.support.links import MALFORMED

LIMITS, LAPTOP = Limits(), Limits(allow_http=True, allow_private=True)
PUBLIC = "93.184.215.14"


PRIVATE = [
    ("0.0.0.0", "this host"),  # noqa: S104
    ("10.1.2.3", "a private network"),
    ("100.64.0.1", "a carrier's network; other clouds' metadata"),
    ("127.0.0.1", "the function's own runtime"),
    ("127.255.255.254", "loopback to its end"),
    ("168.63.129.16", "what Azure answers with within its machines; is_global says yes"),
    ("169.254.169.254", "EC2's metadata service"),
    ("169.254.170.2", "ECS's credentials"),
    ("172.16.0.1", "a private network"),
    ("172.31.255.255", "the default VPC"),
    ("192.0.0.8", "protocol assignments; is_global says yes in Python 3.11"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "a 6to4 relay"),
    ("192.168.1.1", "a private network"),
    ("198.18.0.1", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "service discovery"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "broadcast"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::127.0.0.1", "IPv4-compatible"),
    ("::ffff:169.254.169.254", "IPv4-mapped"),
    ("::ffff:0:127.0.0.1", "IPv4-translated"),
    ("64:ff9b::a9fe:a9fe", "NAT64 of the metadata service; is_global says yes"),
    ("64:ff9b::7f00:1", "NAT64 of loopback"),
    ("64:ff9b:1::a00:1", "NAT64's local prefix"),
    ("100::1", "the discard prefix"),
    ("2001::1", "Teredo"),
    ("2001:0:7f00:1::", "Teredo with an embedded server"),
    ("2001:2::1", "benchmarking"),
    ("2001:10::1", "ORCHID"),
    ("2001:20::1", "ORCHIDv2"),
    ("2001:db8::1", "documentation"),
    ("2002:a9fe:a9fe::", "6to4 of the metadata service; is_global says yes"),
    ("2002:7f00:1::1", "6to4 of loopback"),
    ("3fff::1", "documentation"),
    ("5f00::1", "segment routing"),
    ("fc00::1", "unique local"),
    ("fd00:ec2::254", "EC2's metadata service"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local with a zone"),
    ("fec0::1", "site-local; is_global says yes"),
    ("ff02::1", "multicast"),
]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return a resolver without a network, whose answers a test fills in."""
    zone: dict[str, list[str]] = {}

    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        if host not in zone:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(None, None, 0, "", (address, port)) for address in zone[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return zone


@pytest.mark.parametrize(("url", "reason"), MALFORMED, ids=[reason for _, reason in MALFORMED])
def test_hostile_link_is_refused(url: str, reason: str) -> None:
    with pytest.raises(OutputRefused):
        check(url, LIMITS)


@pytest.mark.parametrize(("address", "reason"), PRIVATE, ids=[address for address, _ in PRIVATE])
def test_name_with_a_private_address_is_refused(names: dict[str, list[str]], address: str, reason: str) -> None:
    assert not is_public(ip_address(address))
    names["cdn.example"] = [PUBLIC, address]
    with pytest.raises(OutputRefused):
        resolve(check("https://cdn.example/v.mp4", LIMITS), LIMITS)


@pytest.mark.parametrize("address", [address for address, _ in PRIVATE if "%" not in address])
def test_private_address_as_a_link_is_refused(names: dict[str, list[str]], address: str) -> None:
    host = f"[{address}]" if ":" in address else address
    target = check(f"https://{host}/", LIMITS)
    names[target.host] = [target.host]
    with pytest.raises(OutputRefused):
        resolve(target, LIMITS)


@pytest.mark.parametrize("address", [PUBLIC, "1.1.1.1", "2606:4700:4700::1111", "2a00:1450::1", "64:ff9b::101:101"])
def test_public_addresses_pass_in_the_resolvers_order(names: dict[str, list[str]], address: str) -> None:
    names["cdn.example"] = [address, PUBLIC, address]
    resolved = resolve(check("https://cdn.example/", LIMITS), LIMITS)
    assert resolved == tuple(dict.fromkeys(map(ip_address, (address, PUBLIC))))


@given(st.integers(0, 2**32 - 1))
def test_an_embedded_ipv4_address_is_never_more_public_than_by_itself(number: int) -> None:
    forms = (0xFFFF << 32 | number, number, 0x64FF9B << 96 | number, 0x2002 << 112 | number << 80)
    public = is_public(ip_address(number))
    assert not any(is_public(IPv6Address(form)) for form in forms if not public)


def test_ordinary_links_pass_whole() -> None:
    target = check("https://CDN-1.Example.com:443/a%20b/v.mp4?X-Amz-Signature=ab+c&e=#frag", LIMITS)
    assert (target.scheme, target.host, target.port) == ("https", "cdn-1.example.com", 443)
    assert target.path == "/a%20b/v.mp4?X-Amz-Signature=ab+c&e="
    assert check("https://cdn.example", LIMITS).path == "/"


def test_settings_of_the_laptop_open_only_what_they_name(names: dict[str, list[str]]) -> None:
    names["localhost"] = ["127.0.0.1"]
    assert check("http://cdn.example/", Limits(allow_http=True)).port == 80
    with pytest.raises(OutputRefused):
        check("http://cdn.example:8080/", Limits(allow_http=True))
    with pytest.raises(OutputRefused):
        check("http://localhost:8080/", Limits(allow_private=True))
    assert resolve(check("http://localhost:8080/", LAPTOP), LAPTOP) == (ip_address("127.0.0.1"),)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "::1", "fd12::1", "fd00:ec1::254", "fd00:42::1", PUBLIC],
)
def test_a_laptop_may_fetch_from_its_own_networks(names: dict[str, list[str]], address: str) -> None:
    names["media.test"] = [address]
    assert resolve(check("http://media.test:8080/", LAPTOP), LAPTOP) == (ip_address(address),)


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.170.2",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "168.63.129.16",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd00:ec2:1::1",
        "fd20:ce::254",
        "fd00:42::42",
        "fd00:c1::a9fe:a9fe",
        "fd00:a9fe:a9fe::1",
        "fd00:100::100:200",
        "fe80::1",
        "100.100.100.200",
        "192.0.0.192",
        "0.0.0.0",  # noqa: S104
        "224.0.0.1",
    ],
)
def test_a_laptop_fetches_from_no_link_local_or_metadata_address(names: dict[str, list[str]], address: str) -> None:
    names["media.test"] = ["127.0.0.1", address]
    with pytest.raises(OutputRefused):
        resolve(check("http://media.test:8080/", LAPTOP), LAPTOP)


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("cdn.example", True),
        ("a.media.example", True),
        ("media.example", True),
        ("b.cdn.example", False),
        ("evilmedia.example", False),
        ("media.example.evil.example", False),
    ],
)
def test_list_of_hosts(host: str, allowed: bool) -> None:
    limits = Limits(hosts=("cdn.example", ".Media.example"))
    if allowed:
        assert check(f"https://{host}/", limits).host == host
    else:
        with pytest.raises(OutputRefused, match=host):
            check(f"https://{host}/", limits)


def test_unknown_name_is_no_refusal_because_it_may_pass(names: dict[str, list[str]]) -> None:
    with pytest.raises(OutputUnreachable, match=r"nowhere\.example"):
        resolve(check("https://nowhere.example/?signature=s3cr3t", LIMITS), LIMITS)


@given(st.text(max_size=60))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://cdn.example{text}"):
        try:
            target = check(url, LIMITS)
        except OutputRefused as error:
            # A few letters may occur in any sentence, and the host's name is meant to be there.
            assert len(text) < 12 or text not in error.message  # noqa: PT017
        else:
            assert target.port == 443
            assert target.path.startswith("/")
            assert target.host.isascii()
