"""Build the parts of a Lambda function for this machine: `python -m local.build`.

It builds three folders under build/local: `SharedLayer` and `functions`, by the same Makefile targets as the real
artefacts, and `lambda-runtime`, the packages of every Lambda runtime. Each is kept until its sources change.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from local import terminal

ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "build" / "local"
SOURCE = ROOT / "shared"
BUILD_STEPS = (SOURCE / "Makefile", SOURCE / "slim_sdk.py")
FUNCTIONS = ROOT / "functions"


class BuildFailed(Exception):
    """A build tool is missing or failed; the text names it and the fix."""


class Built(NamedTuple):
    """The built folders. `functions` has a folder for each function, named as under functions/."""

    layer: Path
    runtime_packages: Path
    functions: Path


def build(python: Path | None = None) -> Built:
    """Build all folders whose sources changed. The first build takes half a minute.

    Args:
        python: Build for this interpreter, into folders of its own.

    Raises:
        BuildFailed: make or pip is missing or failed.
    """
    output = OUTPUT / python.name if python else OUTPUT
    output.mkdir(parents=True, exist_ok=True)
    with (output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests and a running cloud may build at the same time
        builder = _Builder(output, python or Path(sys.executable))
        return Built(builder.layer(), builder.runtime_packages(), builder.functions())


class _Builder:
    """Builds into a folder, for an interpreter, with this process's own pip."""

    def __init__(self, output: Path, python: Path) -> None:
        self._output = output
        self._python = python

    def layer(self) -> Path:
        """Build the layer. An edit of the package `shared` rebuilds it without a run of pip."""
        layer = self._output / "SharedLayer"
        package = layer / "python" / "shared"
        dependencies = self._stamp(layer, SOURCE / "requirements.txt", *BUILD_STEPS)
        if not dependencies.holds():
            say("Building the layer (once per change of shared/requirements.txt) ...")
            _clear(layer)
            self._make(SOURCE, "build-SharedLayer", layer, "LAYER_PLATFORM=")
            self._compile(layer)
            dependencies.set()
        source = self._stamp(package, *_sources(SOURCE))
        if not source.holds():
            shutil.rmtree(package, ignore_errors=True)
            ignored = shutil.ignore_patterns("__pycache__", "requirements.txt", *(file.name for file in BUILD_STEPS))
            shutil.copytree(SOURCE, package, ignore=ignored)
            self._compile(package)
            source.set()
        return layer

    def runtime_packages(self) -> Path:
        folder = self._output / "lambda-runtime"
        requirements = ROOT / "requirements" / "lambda.txt"
        stamp = self._stamp(folder, requirements)
        if not stamp.holds():
            say("Installing what a Lambda runtime has (once) ...")
            _clear(folder)
            _command(
                *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
                *("--no-compile", "--no-deps", "--require-hashes"),
                *("--target", str(folder), "--requirement", str(requirements)),
                python=self._python,
            )
            self._compile(folder)
            stamp.set()
        return folder

    def functions(self) -> Path:
        folder = self._output / "functions"
        stamp = self._stamp(folder, *_sources(FUNCTIONS))
        if not stamp.holds():
            _clear(folder)
            for source in sorted(file.parent for file in FUNCTIONS.glob("*/app.py")):
                target = folder / source.name
                target.mkdir()
                makefile = ("--makefile", str(FUNCTIONS / "Makefile"))
                self._make(source, f"build-{source.name.capitalize()}Function", target, *makefile)
            self._compile(folder)
            stamp.set()
        return folder

    def _stamp(self, folder: Path, *files: Path) -> _Stamp:
        return _Stamp(folder, self._output / f".{folder.name}.digest", self._python, *files)

    def _make(self, folder: Path, target: str, artefact: Path, *arguments: str) -> None:
        command = ("make", "--no-print-directory", "-C", str(folder), target, *arguments)
        _command(*command, python=self._python, ARTIFACTS_DIR=str(artefact), PYTHON=sys.executable)

    def _compile(self, folder: Path) -> None:
        """Compile to bytecode. Otherwise imports take five times as long, because Lambda's folders are read-only."""
        # A module that cannot be compiled fails when it is imported.
        mode = ("--invalidation-mode", "unchecked-hash")
        subprocess.run([self._python, "-m", "compileall", "-qq", *mode, folder], check=False)


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix != ".pyc" and path.is_file())


class _Stamp:
    """Records the sources, the interpreter and the location that a folder was built from."""

    def __init__(self, folder: Path, file: Path, python: Path, *sources: Path) -> None:
        parts = [
            f"{python.resolve()} {sys.version}",
            str(ROOT),
            *(f"{source}\0{hashlib.sha256(source.read_bytes()).hexdigest()}" for source in sources),
        ]
        self._digest = hashlib.sha256(os.fsencode("\0".join(parts))).hexdigest()
        self._folder = folder
        self._file = file

    def holds(self) -> bool:
        return self._folder.is_dir() and self._file.exists() and self._file.read_text("utf-8") == self._digest

    def set(self) -> None:
        self._file.write_text(self._digest, "utf-8")


def say(text: str) -> None:
    """Print progress to standard error, because standard output is for `--json`."""
    print(terminal.visible(text), file=sys.stderr, flush=True)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _command(*command: str, python: Path, **variables: str) -> None:
    """Run a build tool, whose pip installs for the interpreter.

    Paths are passed to make in environment variables, because dollar signs and quotes are special in its arguments.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    environment |= {"PIP_PYTHON": str(python), **variables}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except FileNotFoundError:
        raise BuildFailed(f"`{command[0]}` is needed to build and was not found. Install it and try again.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise BuildFailed(f"Building failed: `{' '.join(command[:3])} …` said: {' | '.join(lines[-3:])}")


if __name__ == "__main__":
    terminal.accept_all_text()
    try:
        build()
    except BuildFailed as error:
        say(str(error))
        sys.exit(2)
