"""Test that the locked packages without a wheel on some platform are found."""

from __future__ import annotations

import pytest

from tools.wheels import Locked, missing, read

LOCK = """\
plain==1.0 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
marked==2.1 ; sys_platform == 'win32' \\
    --hash=sha256:{a}
"""


def test_a_lock_is_read() -> None:
    a, b = "a" * 64, "b" * 64
    assert list(read(LOCK.format(a=a, b=b))) == [
        Locked("plain", "1.0", None, frozenset({a, b})),
        Locked("marked", "2.1", "sys_platform == 'win32'", frozenset({a})),
    ]


LINUX = ["p-1-cp311-abi3-manylinux_2_17_x86_64.whl", "p-1-cp311-abi3-manylinux2014_aarch64.whl"]
MUSL = ["p-1-cp311-abi3-musllinux_1_2_x86_64.whl", "p-1-cp311-abi3-musllinux_1_1_aarch64.whl"]


@pytest.mark.parametrize(
    ("marker", "files", "lacking"),
    [
        (None, ["p-1-py3-none-any.whl"], []),
        (None, [*LINUX, *MUSL, "p-1-cp311-abi3-macosx_10_9_universal2.whl"], []),
        (None, [*LINUX, *MUSL], ["macOS 13 arm64", "macOS 13 x86-64"]),
        (None, [*LINUX, *MUSL, "p-1-cp311-abi3-macosx_14_0_arm64.whl"], ["macOS 13 arm64", "macOS 13 x86-64"]),
        ("sys_platform == 'linux'", LINUX, ["musl x86-64", "musl arm64"]),
        ("python_version >= '3.14' and platform_machine == 'arm64'", ["p-1.tar.gz"], ["macOS 13 arm64 (3.14)"]),
        ("sys_platform == 'win32'", [], []),
    ],
)
def test_a_package_is_missed_where_it_is_wanted_and_pip_takes_no_wheel(
    marker: str | None, files: list[str], lacking: list[str]
) -> None:
    assert missing(Locked("p", "1", marker, frozenset()), files) == lacking
