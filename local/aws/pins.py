"""Check the versions of the packages that the patches were written for.

The patches use internals of MiniStack and moto, so another version may break them silently. This module reports a
mismatch in one sentence.
"""

from __future__ import annotations

from importlib import metadata

PINS = {"ministack": "1.5.33", "moto": "5.2.5", "awslambdaric": "4.2.2"}


class WrongVersion(Exception):
    """A package is missing, or its version is not the one that the patches were written for."""


def require(*packages: str) -> None:
    """Check that the pinned version of each package is installed.

    Raises:
        WrongVersion: A package is missing or of another version; the text says how to fix it.
    """
    for package in packages:
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            found = "none"
        if found != PINS[package]:
            raise WrongVersion(
                f"The cloud on a laptop needs {package} {PINS[package]} and found {found}. "
                "Fix it with `pip install -r requirements/local.txt`; to move to another version, change it in "
                "local/aws/pins.py and pyproject.toml and run tests/local."
            )
