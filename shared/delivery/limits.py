"""Limit a delivery: size, time, memory and the hosts to fetch from."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024

MAX_PARTS = 10_000
"""Parts of one multipart upload. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
MIN_PART_BYTES = 5 * MIB
"""Smallest part that is not the last one (same page)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The caps of one delivery. The defaults suit a Lambda function of 512 MB.

    Args:
        max_bytes: Largest file that is copied, in bytes.
        total_seconds: Longest one call may take, in seconds, even if the caller has more time.
        idle_seconds: Longest silence of the origin, in seconds.
        connect_seconds: Longest time for one TCP and TLS handshake, in seconds.
        reserve_seconds: Seconds left to the caller when time runs out: enough to finish one upload request.
        part_bytes: Size of a part, in bytes. A file of at most this size takes one request. Larger for files that
            would otherwise have more than 10,000 parts.
        buffer_bytes: Memory for parts in flight, in bytes. It limits how many parts are copied at once.
        hosts: Hosts that may be fetched from; `.example.com` includes subdomains. Empty: every public host.
        allow_http: Accept plain http. For a laptop.
        allow_private: Accept the machine's own addresses, private networks and any port. For a laptop.
    """

    max_bytes: int = 5 * 1024 * MIB
    total_seconds: float = 840.0
    idle_seconds: float = 20.0
    connect_seconds: float = 10.0
    reserve_seconds: float = 20.0
    part_bytes: int = 6 * MIB
    buffer_bytes: int = 36 * MIB
    hosts: tuple[str, ...] = ()
    allow_http: bool = False
    allow_private: bool = False

    def __post_init__(self) -> None:
        if self.part_bytes < MIN_PART_BYTES:
            raise ValueError(f"part_bytes must be at least {MIN_PART_BYTES}: S3 takes no smaller parts.")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart upload, and the byte range of the file that it holds."""

    number: int
    start: int
    length: int

    @property
    def end(self) -> int:
        """Offset of the last byte, inclusive, as HTTP ranges count."""
        return self.start + self.length - 1


def part_size(total: int, limits: Limits) -> int:
    """Return the bytes per part, in whole MiB, so that `total` bytes fit into the parts that S3 allows."""
    needed = -(-total // MAX_PARTS)
    return max(limits.part_bytes, -(-needed // MIB) * MIB)


def parts_of(total: int, limits: Limits) -> tuple[Part, ...]:
    """Return the parts of a file of `total` bytes: all of one size but the last."""
    size = part_size(total, limits)
    return tuple(
        Part(number, start, min(size, total - start)) for number, start in enumerate(range(0, total, size), start=1)
    )


def parts_in_flight(size: int, limits: Limits) -> int:
    """Return how many parts of `size` bytes are copied at once: at least one."""
    return max(1, limits.buffer_bytes // size)
