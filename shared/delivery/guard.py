"""Decide whether a link may be fetched, and to which addresses of its host.

A link comes from outside, so it may try to reach into the account: the metadata service, a database, the function's own
runtime. The guard parses it, checks every address of its host, and returns the addresses. The connection then goes to a
checked address only; a second DNS lookup could answer differently.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from shared.delivery.errors import OutputRefused, OutputUnreachable

if TYPE_CHECKING:
    from shared.delivery.limits import Limits

Address = IPv4Address | IPv6Address

MAX_URL_CHARACTERS = 8192
_PORTS = {"https": 443, "http": 80}
_PRINTABLE_ASCII = re.compile(r"[!-~]+")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_DNS_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\Z")
# What the WHATWG URL standard reads as an IPv4 address: `127.1`, `0x7f.1`, `017700000001`. https://url.spec.whatwg.org/#ends-in-a-number-checker
_NUMERIC_LABEL = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")

# Azure's platform service, reachable from its machines: https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16
_AZURE = "168.63.129.16/32"
# https://www.iana.org/assignments/iana-ipv4-special-registry, all that is not globally reachable, plus multicast and
# the retired 6to4 relays. `ipaddress.is_global` of Python 3.11 is not used: it allows 192.0.0.8 and others.
_SPECIAL_IPV4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            _AZURE,
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Global unicast that is not public: protocol assignments with Teredo, ORCHID and benchmarking; documentation; 6to4.
_SPECIAL_IPV6 = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
_NAT64 = IPv6Network("64:ff9b::/96")
# Allowed on a laptop beside the public internet: itself and its own networks, but no link-local address and no cloud's
# metadata service.
_LAPTOP = tuple(
    map(
        ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
# Clouds' services at unique local addresses, some with credentials. AWS: metadata, EKS Pod Identity, DNS, time.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-instance-metadata-service.html
# https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html
# Google: https://cloud.google.com/compute/docs/metadata/querying-metadata
# Akamai, Scaleway: https://docs.cloud-init.io/en/latest/reference/datasources.html
# Alibaba, Oracle: DataSourceAliYun.py, DataSourceOracle.py in https://github.com/canonical/cloud-init/tree/main/cloudinit/sources
_METADATA = tuple(
    map(
        IPv6Network,
        (
            "fd00:ec2::/32",
            "fd20:ce::254/128",
            "fd00:a9fe:a9fe::1/128",
            "fd00:42::42/128",
            "fd00:100::100:200/128",
            "fd00:c1::a9fe:a9fe/128",
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Target:
    """A parsed and allowed link. `path` includes the query and is a secret."""

    scheme: str
    host: str
    port: int
    path: str


def check(url: str, limits: Limits) -> Target:
    """Parse a link strictly.

    Raises:
        OutputRefused: It is not a plain `https://host/path` link of an allowed host.
    """
    if len(url) > MAX_URL_CHARACTERS or not _PRINTABLE_ASCII.fullmatch(url) or "\\" in url:
        raise OutputRefused("The link to the video is not a plain address.")
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise OutputRefused("The link to the video is not a well-formed address.") from None
    if split.scheme not in (("https", "http") if limits.allow_http else ("https",)):
        raise OutputRefused("The link to the video is not an https link.")
    if "@" in split.netloc:
        raise OutputRefused("The link to the video carries a user name or password.")
    host = _host(split)
    if port is None:
        port = _PORTS[split.scheme]
    if not limits.allow_private and port != _PORTS[split.scheme]:
        raise OutputRefused(f"The link to the video asks {host} for a port other than {_PORTS[split.scheme]}.")
    if limits.hosts and not any(_matches(host, allowed.lower()) for allowed in limits.hosts):
        raise OutputRefused(f"{host} is not on the list of hosts that videos may come from.")
    path = split.path or "/"
    return Target(split.scheme, host, port, f"{path}?{split.query}" if split.query else path)


def _host(split: SplitResult) -> str:
    """Return the link's host: a canonical IP address or a DNS name that every parser reads in the same way."""
    host = (split.hostname or "").lower()
    bracketed = split.netloc.startswith("[")
    if bracketed or _NUMERIC_LABEL.match(host.rpartition(".")[2]):
        try:
            address = ip_address(host)
        except ValueError:
            raise OutputRefused("The link to the video disguises an IP address.") from None
        if "%" in host or bracketed != (address.version == 6):
            raise OutputRefused("The link to the video disguises an IP address.")
        return str(address)
    if not _DNS_NAME.match(host):
        raise OutputRefused("The link to the video has no proper host name.")
    return host


def _matches(host: str, allowed: str) -> bool:
    return host == allowed.removeprefix(".") or (allowed.startswith(".") and host.endswith(allowed))


def resolve(target: Target, limits: Limits) -> tuple[Address, ...]:
    """Return every address of the target's host, in the resolver's order. All of them must be allowed.

    Raises:
        OutputRefused: At least one address is not public, nor (with `allow_private`) the laptop's own. A name with
            public and private addresses is probably an attack.
        OutputUnreachable: The name does not resolve.
    """
    try:
        answers = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise OutputUnreachable(f"The host name {target.host} could not be resolved.") from None
    addresses = tuple(dict.fromkeys(ip_address(answer[4][0]) for answer in answers))
    if not all(is_public(address) or (limits.allow_private and _is_of_laptop(address)) for address in addresses):
        raise OutputRefused(f"{target.host} has an address that is not public.")
    return addresses


def _is_of_laptop(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _LAPTOP) and not any(address in network for network in _METADATA)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, however it is written.

    IPv6 forms that embed an IPv4 address are not public, with one exception: in an IPv6-only network every IPv4 host
    has NAT64's well-known prefix (RFC 6052), so there the embedded address decides.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_IPV4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    return address in _GLOBAL_UNICAST and not any(address in network for network in _SPECIAL_IPV6)
