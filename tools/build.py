"""Build the artefacts and report them: `python -m tools.build`, `--twice` to prove that the build is reproducible.

`sam build` makes the artefacts. This tool adds bytecode, because Lambda's folders are read-only, and rejects files that
do not belong on Lambda. `sam deploy` uploads an artefact under its digest, so an unchanged artefact is not uploaded.
The tool needs only SAM's command line and `tools.sbom`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tools import sbom

ROOT = Path(__file__).parents[1]
RUNTIME = "3.13"
"""The Python of the functions, as in the template's `Runtime` and in shared/Makefile."""
LAYER = "SharedLayer"
SBOM = ROOT / ".aws-sam" / "sbom.cdx.json"
MAX_LAYER_BYTES = 15_000_000
SOURCES = ("template.yaml", "functions", "shared", "statemachine")
NO_BYTECODE = f"""\
No python{RUNTIME} was found, so the artefacts have no bytecode. They work, but each cold start compiles its
imports and takes about twice as long. Put a python{RUNTIME} on the PATH and build again."""


class BuildFailed(Exception):
    """The build failed, or its result must not be deployed; the text says why."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.build", description="Build the artefacts for deployment.")
    parser.add_argument("--twice", action="store_true", help="build in two new folders and compare")
    try:
        if parser.parse_args(arguments).twice:
            _compare()
        else:
            print(_listing(build(ROOT)))
            sbom.write(ROOT / ".aws-sam" / "build" / LAYER / "python", SBOM)
            print(f"The layer's packages: {SBOM.relative_to(ROOT)} (CycloneDX)")
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def build(root: Path, *, environment: dict[str, str] | None = None, umask: int = -1) -> list[Path]:
    """Build the project in a folder.

    Args:
        root: The folder with template.yaml.
        environment: Additional environment variables for the build.
        umask: The umask of the build; -1 keeps this process's own.

    Returns:
        The artefacts' folders.

    Raises:
        BuildFailed: SAM failed, or an artefact must not be deployed.
    """
    sam = Path(sys.executable).parent
    variables = os.environ | {"PATH": f"{sam}{os.pathsep}{os.environ['PATH']}", "SAM_CLI_TELEMETRY": "0"}
    command = [sys.executable, "-m", "samcli", "build"]
    done = subprocess.run(  # noqa: S603 - this project's own tool
        command,
        cwd=root,
        env=variables | (environment or {}),
        umask=umask,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise BuildFailed(f"{done.stdout}\n`sam build` failed; its last lines say why.")
    artefacts = sorted(path for path in (root / ".aws-sam" / "build").iterdir() if path.is_dir())
    python = runtime_python()
    if python is None:
        print(NO_BYTECODE, file=sys.stderr)
    for artefact in artefacts:
        if python:
            compile_ahead(artefact, python, place="/opt" if artefact.name == LAYER else "/var/task")
        if unfit := misplaced(artefact):
            raise BuildFailed(f"{artefact.name} contains files that do not belong on Lambda: {', '.join(unfit[:5])}")
    size = zipped_bytes(root / ".aws-sam" / "build" / LAYER)
    if size > MAX_LAYER_BYTES:
        raise BuildFailed(f"The layer has {size:,} bytes as a ZIP; the limit is {MAX_LAYER_BYTES:,}.")
    return artefacts


def runtime_python() -> Path | None:
    """Return an interpreter of the functions' version from the PATH or pyenv, or None."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    installed = sorted(pyenv.glob(f"versions/{RUNTIME}.*/bin/python{RUNTIME}"))
    found = shutil.which(f"python{RUNTIME}")
    for candidate in (*([Path(found)] if found else []), *installed):
        # Pyenv's commands on the PATH fail if the version is not chosen.
        tried = subprocess.run([candidate, "-S", "-c", ""], capture_output=True)  # noqa: S603
        if tried.returncode == 0:
            return candidate
    return None


def compile_ahead(folder: Path, python: Path, *, place: str) -> None:
    """Add bytecode beside every module. It does not depend on times, or on the folder of the build.

    Args:
        folder: An artefact.
        python: The interpreter that compiles.
        place: The artefact's folder on Lambda, for tracebacks.

    Raises:
        BuildFailed: A module cannot be compiled.
    """
    mode = ("--invalidation-mode", "unchecked-hash")
    command = [str(python), "-m", "compileall", "-q", *mode, "-s", str(folder), "-p", place, str(folder)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")  # noqa: S603
    if done.returncode:
        raise BuildFailed(f"{folder.name} cannot be compiled: {done.stdout.strip()}")


def misplaced(folder: Path) -> list[str]:
    """Return files that do not belong on Lambda: tests, pages, build files, bytecode of another version."""
    wrong = []
    for file in _files(folder):
        name = file.relative_to(folder)
        foreign = file.suffix == ".pyc" and f".cpython-{RUNTIME.replace('.', '')}." not in file.name
        # botocore has a package `docs`; pages are not in a package.
        pages = any(part.name == "docs" and not (folder / part / "__init__.py").exists() for part in name.parents)
        if foreign or pages or {"tests", "test", "Makefile", "requirements.txt"} & set(name.parts):
            wrong.append(str(name))
    return wrong


def digest(folder: Path) -> str:
    """Return the name under which SAM uploads an artefact: MD5 of only every file's path and content.

    https://github.com/aws/aws-sam-cli/blob/v1.170.0/samcli/lib/utils/hash.py
    """
    total = hashlib.md5(usedforsecurity=False)
    for file in _files(folder):
        total.update(str(file.relative_to(folder)).encode())
        total.update(hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest().encode())
    return total.hexdigest()


def zipped_bytes(folder: Path) -> int:
    """Return the size of an artefact as SAM uploads it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in _files(folder):
            archive.writestr(str(file.relative_to(folder)), file.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(buffer.getvalue())


def _files(folder: Path) -> list[Path]:
    return sorted((path for path in folder.rglob("*") if path.is_file()), key=str)


def _listing(artefacts: list[Path]) -> str:
    lines = [f"{'artefact':<18}{'ZIP, bytes':>12}  digest"]
    lines += [f"{folder.name:<18}{zipped_bytes(folder):>12,}  {digest(folder)}" for folder in artefacts]
    return "\n".join(lines)


def _compare() -> None:
    """Build two copies of the sources in different folders and environments, and compare them.

    Raises:
        BuildFailed: They differ; the text names the files.
    """
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(suffix="-of-somebody-else") as other:
        here, there = _copy(ROOT, Path(one) / "project"), _copy(Path(one) / "project", Path(other) / "a" / "b")
        first = build(here, environment={"PYTHONHASHSEED": "1", "TZ": "UTC"}, umask=0o022)
        second = build(there, environment={"PYTHONHASHSEED": "2", "TZ": "JST-9"}, umask=0o077)
        different = [name for left, right in zip(first, second, strict=True) for name in _differences(left, right)]
        if different:
            raise BuildFailed(f"Two builds differ in {len(different)} files, first in {', '.join(different[:10])}")
        print(_listing(first))
        print("A second build in another folder has the same digests.")


def _copy(root: Path, target: Path) -> Path:
    target.mkdir(parents=True)
    for name in SOURCES:
        source = root / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(source, target / name)
    return target


def _differences(left: Path, right: Path) -> list[str]:
    contents = [
        {str(file.relative_to(folder)): file.read_bytes() for file in _files(folder)} for folder in (left, right)
    ]
    return [
        f"{left.name}/{name}"
        for name in sorted({*contents[0], *contents[1]})
        if contents[0].get(name) != contents[1].get(name)
    ]


if __name__ == "__main__":
    sys.exit(main())
