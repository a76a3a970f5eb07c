"""Lint the state machines with two public linters: `python -m tools.asl`, part of `make lint`.

statelint follows the States Language's specification, asl-validator a schema of every state and task. Each finds errors
that the other misses. False findings are filtered out here.
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

FALSE_FINDINGS = {
    r"\.BackoffRate is \d+ but should be a Float$": "JSON has one kind of number: 2 is 2.0",
    r'^Field "Label" not allowed in ': (
        "newer than statelint. https://docs.aws.amazon.com/step-functions/latest/dg/state-map-distributed.html"
    ),
    r'^Field "InputType" not allowed in .*\.ReaderConfig$': (
        "newer than statelint. https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itemreader.html"
    ),
}
"""Pattern of a false finding of statelint → why it is false."""


def statelint_findings(file: Path) -> list[str]:
    """Return statelint's findings in a definition."""
    done = _run(CHECKS / "bin" / "statelint", file)
    lines = [line.strip() for line in done.stdout.splitlines()]
    if done.returncode and not lines:
        return [done.stderr.strip()]
    return [line for line in lines[1:] if not any(re.search(pattern, line) for pattern in FALSE_FINDINGS)]


def validator_finding(file: Path) -> str | None:
    """Return asl-validator's finding in a definition, or None."""
    done = _run(CHECKS / "asl-validator" / "node_modules" / ".bin" / "asl-validator", "--json-path", file)
    return f"{done.stdout}{done.stderr}".strip() if done.returncode else None


def main() -> int:
    """Lint all state machines. Returns the exit status: 1 with findings."""
    node = shutil.which("node") is not None and (CHECKS / "asl-validator" / "node_modules").is_dir()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, machine in plain.machines().items():
            file = Path(folder) / f"{Path(name).stem}.json"
            file.write_text(json.dumps(machine), "utf-8")
            found = statelint_findings(file)
            if node and (finding := validator_finding(file)):
                found.append(finding)
            print(f"{name}: {'; '.join(found) or 'no findings'}")
            wrong += len(found)
    if not node:
        print("asl-validator: skipped, because node or asl-validator is not installed.")
    return 1 if wrong else 0


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    # `make lint` installs these linters.
    return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603


if __name__ == "__main__":
    sys.exit(main())
