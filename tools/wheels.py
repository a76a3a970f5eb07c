"""Check on which machines the locked packages install without a compiler: `python -m tools.wheels [LOCK …]`.

It requests the files of every locked package from the index in `PIP_INDEX_URL` (PEP 691), keeps those whose digest is
in the lock, and searches one for each platform and Python. It prints a Markdown table of the packages without a wheel
somewhere.
"""

from __future__ import annotations

import json
import os
import re
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from packaging import tags
from packaging.markers import Marker
from packaging.utils import parse_wheel_filename

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[^]]*\])?==(?P<version>\S+?)(\s*;\s*(?P<marker>[^\\]+?))?\s*\\?$")
_DIGEST = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class Platform(NamedTuple):
    """A kind of machine: its name, its tags (best first), and its values for environment markers."""

    name: str
    tags: tuple[str, ...]
    markers: dict[str, str]


class Locked(NamedTuple):
    """A package in a lock file."""

    name: str
    version: str
    marker: str | None
    digests: frozenset[str]


def _linux(name: str, machine: str, kind: str, minors: range) -> Platform:
    names = [f"{kind}_{minor}_{machine}" for minor in reversed(minors)]
    if kind == "manylinux_2":
        names += [f"{legacy}_{machine}" for legacy in ("manylinux2014", "manylinux2010", "manylinux1")]
    return Platform(name, (*names, f"linux_{machine}"), _markers("linux", "Linux", machine))


def _mac(name: str, machine: str) -> Platform:
    return Platform(name, tuple(tags.mac_platforms((13, 0), machine)), _markers("darwin", "Darwin", machine))


def _markers(platform: str, system: str, machine: str) -> dict[str, str]:
    return {"sys_platform": platform, "platform_system": system, "platform_machine": machine, "os_name": "posix"}


PLATFORMS = (
    _linux("Linux x86-64", "x86_64", "manylinux_2", range(5, 29)),
    _linux("Linux arm64", "aarch64", "manylinux_2", range(17, 29)),
    _linux("musl x86-64", "x86_64", "musllinux_1", range(1, 3)),
    _linux("musl arm64", "aarch64", "musllinux_1", range(1, 3)),
    _mac("macOS 13 arm64", "arm64"),
    _mac("macOS 13 x86-64", "x86_64"),
)
"""glibc up to 2.28 and musl up to 1.2, as in Debian 10, Alpine 3.13 and everything newer."""


def main(arguments: list[str]) -> int:
    if "PIP_INDEX_URL" not in os.environ:
        print("Set PIP_INDEX_URL to the address of a package index that answers in JSON.", file=sys.stderr)
        return 2
    locks = [Path(argument).resolve() for argument in arguments] or [
        *sorted((ROOT / "requirements").glob("*.txt")),
        ROOT / "shared" / "requirements.txt",
    ]
    print(f"Checked on {datetime.now(UTC):%Y-%m-%d}: {', '.join(lock.name for lock in locks)}.\n")
    print("| lock | package | no wheel on | source |\n|---|---|---|---|")
    for lock in locks:
        packages = list(read(lock.read_text(encoding="utf-8")))
        with ThreadPoolExecutor(4) as pool:
            for package, files in zip(packages, pool.map(files_of, packages), strict=True):
                if lacking := missing(package, files):
                    source = "no" if all(name.endswith(".whl") for name in files) else "yes"
                    where = "; ".join(lacking)
                    print(f"| {lock.relative_to(ROOT)} | {package.name} {package.version} | {where} | {source} |")
    return 0


def read(lock: str) -> Iterator[Locked]:
    """Yield the packages of a lock file of pip or uv."""
    for entry in re.split(r"\n(?=\S)", lock):
        if found := _REQUIREMENT.match(entry.split("\n", 1)[0]):
            yield Locked(found["name"], found["version"], found["marker"], frozenset(_DIGEST.findall(entry)))


def files_of(package: Locked) -> list[str]:
    """Return the names of a locked package's files on the index.

    Raises:
        OSError: The index cannot be reached or does not know the package.
    """
    address = f"{os.environ['PIP_INDEX_URL'].rstrip('/')}/{re.sub(r'[-_.]+', '-', package.name).lower()}/"
    asked = urllib.request.Request(address, headers={"Accept": "application/vnd.pypi.simple.v1+json"})  # noqa: S310
    with urllib.request.urlopen(asked, timeout=60) as answer:  # noqa: S310 - the index that pip uses
        listed = json.load(answer)["files"]
    return [file["filename"] for file in listed if file["hashes"].get("sha256") in package.digests]


def missing(package: Locked, files: list[str]) -> list[str]:
    """Return the platforms where a required package has no wheel: `platform (Pythons)`."""
    wheels = [tag for name in files if name.endswith(".whl") for tag in parse_wheel_filename(name)[3]]
    lacking = []
    for platform in PLATFORMS:
        pythons = [python for python in PYTHONS if _wanted(package, platform, python)]
        without = [python for python in pythons if not set(_tags(platform, python)) & set(wheels)]
        if without:
            versions = "" if without == list(PYTHONS) else f" ({', '.join(f'{a}.{b}' for a, b in without)})"
            lacking.append(platform.name + versions)
    return lacking


def _tags(platform: Platform, python: tuple[int, int]) -> Iterator[tags.Tag]:
    yield from tags.cpython_tags(python, platforms=platform.tags, abis=[f"cp{python[0]}{python[1]}"])
    yield from tags.compatible_tags(python, f"cp{python[0]}{python[1]}", platform.tags)


def _wanted(package: Locked, platform: Platform, python: tuple[int, int]) -> bool:
    if package.marker is None:
        return True
    version = f"{python[0]}.{python[1]}"
    environment = {"python_version": version, "python_full_version": f"{version}.0"}
    implementation = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    return Marker(package.marker).evaluate({**platform.markers, **environment, **implementation})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
