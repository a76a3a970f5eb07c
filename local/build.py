"""Builds what Lambda brings or gets besides a function's own code, for this machine: `python -m local.build`.

Two folders under build/local: `SharedLayer`, made by the same Makefile target as the real layer, and `lambda-runtime`,
the packages that every Lambda runtime has. Both are kept as long as what they are made from stays the same. It knows
the files that they are made from, and nothing of how they are deployed.
"""

from __future__ import annotations

import compileall
import fcntl
import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "local"
SOURCE = ROOT / "shared"


class BuildFailed(Exception):
    """A build tool is missing or failed; the text says which and what to do."""


class Built(NamedTuple):
    """The folders that were built."""

    layer: Path
    runtime_packages: Path


def build() -> Built:
    """Build both folders, or bring them up to date. Takes half a minute the first time, and next to nothing later.

    Raises:
        BuildFailed: make or pip is missing or failed.
    """
    OUTPUT.mkdir(parents=True, exist_ok=True)
    with (OUTPUT / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests and a running cloud may build at the same time
        return Built(_layer(), _runtime_packages())


def _layer() -> Path:
    """The layer. Its dependencies and the package `shared` are kept apart: an edit must not cost a run of pip."""
    layer = OUTPUT / "SharedLayer"
    package = layer / "python" / "shared"
    dependencies = _Stamp(layer, SOURCE / "requirements.txt", SOURCE / "Makefile")
    if not dependencies.holds():
        say(f"Building the layer in {layer.relative_to(ROOT)} (once per change of shared/requirements.txt) …")
        _clear(layer)
        _command(
            *("make", "--no-print-directory", "-C", str(SOURCE), "build-SharedLayer"),
            *(f"ARTIFACTS_DIR={layer}", f"PYTHON={sys.executable}", "LAYER_PLATFORM="),
        )
        _compile(layer)
        dependencies.set()
    source = _Stamp(package, *sorted(path for path in SOURCE.rglob("*") if path.suffix != ".pyc" and path.is_file()))
    if not source.holds():
        shutil.rmtree(package, ignore_errors=True)
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__", "Makefile", "requirements.txt"))
        _compile(package)
        source.set()
    return layer


def _runtime_packages() -> Path:
    folder = OUTPUT / "lambda-runtime"
    requirements = ROOT / "requirements" / "lambda.txt"
    stamp = _Stamp(folder, requirements)
    if not stamp.holds():
        say(f"Installing what a Lambda runtime has into {folder.relative_to(ROOT)} (once) …")
        _clear(folder)
        _command(
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--no-compile", "--no-deps", "--require-hashes"),
            *("--target", str(folder), "--requirement", str(requirements)),
        )
        _compile(folder)
        stamp.set()
    return folder


class _Stamp:
    """Remembers what a folder was built from: these files, for this interpreter, in this place."""

    def __init__(self, folder: Path, *files: Path) -> None:
        parts = [
            sys.version,
            str(ROOT),
            *(f"{file}\0{hashlib.sha256(file.read_bytes()).hexdigest()}" for file in files),
        ]
        self._digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        self._folder = folder
        self._file = OUTPUT / f".{folder.name}.digest"

    def holds(self) -> bool:
        return self._folder.is_dir() and self._file.exists() and self._file.read_text() == self._digest

    def set(self) -> None:
        self._file.write_text(self._digest)


def say(text: str) -> None:
    """Tell the person at the terminal what takes time. Standard output belongs to `--json`."""
    print(text, file=sys.stderr, flush=True)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _compile(folder: Path) -> None:
    """Compile ahead: without it imports take five times as long, and Lambda's folders are read-only."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, workers=1, invalidation_mode=mode)


def _command(*command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        raise BuildFailed(f"`{command[0]}` is needed to build and was not found. Install it and try again.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BuildFailed(f"Building failed: `{' '.join(command[:3])} …` said: {' | '.join(lines[-3:])}")


if __name__ == "__main__":
    try:
        build()
    except BuildFailed as error:
        say(str(error))
        sys.exit(2)
