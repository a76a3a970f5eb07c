"""Lint the state machines with two public linters: `python -m tools.asl`, part of `make lint`.

statelint follows the States Language's specification, asl-validator a schema of every state and task. Each finds errors
that the other misses. Wrong complaints are filtered out here.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools import translate_template as plain

CHECKS = plain.ROOT / ".venv-checks"

WRONG = {
    r"\.BackoffRate is \d+ but should be a Float$": "JSON has one kind of number: 2 is 2.0",
    r'^Field "Label" not allowed in ': (
        "newer than statelint. https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"
    ),
    r'^Field "InputType" not allowed in .*\.ReaderConfig$': (
        "newer than statelint. https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html"
    ),
}
"""What statelint complains about without cause → why it has none."""


def complaints(file: Path) -> list[str]:
    """Return what statelint has to say about a definition."""
    done = _run(CHECKS / "bin" / "statelint", file)
    lines = [line.strip() for line in done.stdout.splitlines()]
    if done.returncode and not lines:
        return [done.stderr.strip()]
    return [line for line in lines[1:] if not any(re.search(pattern, line) for pattern in WRONG)]


def refusal(file: Path) -> str | None:
    """Return what asl-validator has to say about a definition."""
    done = _run(CHECKS / "asl-validator" / "node_modules" / ".bin" / "asl-validator", "--json-path", file)
    return f"{done.stdout}{done.stderr}".strip() if done.returncode else None


def main() -> int:
    """Answer the process's exit status: 1 if there is something to say."""
    node = shutil.which("node") is not None and (CHECKS / "asl-validator" / "node_modules").is_dir()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, machine in plain.machines().items():
            file = Path(folder) / f"{Path(name).stem}.json"
            file.write_text(json.dumps(machine), "utf-8")
            found = complaints(file)
            if node and (refused := refusal(file)):
                found.append(refused)
            print(f"{name}: {'; '.join(found) or 'nothing to complain about'}")
            wrong += len(found)
    if not node:
        print("asl-validator: skipped, there is no node and npm on this machine.")
    return 1 if wrong else 0


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # What `make lint` installed.
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
