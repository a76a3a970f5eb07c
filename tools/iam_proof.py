"""Prove that no role has more rights than it needs: `make iam-proof` removes one right at a time and runs the tests.

First the integration tests run with every right, and the rights that each test uses are recorded. Then, for each right
in the template, a new cloud starts without that right, and the tests that used it run until one fails. A right whose
absence breaks nothing is superfluous, unless `NOT_SHOWN` says why the cloud on a laptop cannot show that it is needed.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tools import iam

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]

_MAP = (
    "A map in distributed mode starts, follows and redrives its children with it; the stand-in runs the map itself. "
    "https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html"
)
NOT_SHOWN = {
    "*:sqs:SendMessage:EventsDlq": (
        "Lambda sends events here that a function failed to handle; the stand-in keeps none. "
        "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"
    ),
    "*:logs:*": (
        "Step Functions sets up the delivery of its log with it; the stand-in delivers none. "
        "https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"
    ),
    "*:events:*:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule": (
        "Step Functions hears with it of the end of the executions that it started; the stand-in asks. "
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html"
    ),
    "BatchJobRole:states:StartExecution:BatchJob": _MAP,
    "BatchJobRole:states:*:execution:BatchJob*": _MAP,
    "*:kms:*": (
        "Only with KmsKeyArn, and the stand-in asks no key whether it may be used. "
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"
    ),
}
"""`role:action:resource`, with wildcards → why nothing breaks here without it, and where AWS says that it is needed."""

# These depend on earlier tests, so on their own they would fail even with every right.
_NOT_ALONE = ("nothing_private_is_written_anywhere", "the_worked_recipes_make_videos")
_TESTS = "tests/integration"
_PATIENCE_SECONDS = "30"
_LONGEST_RUN_SECONDS = 900


class ProofFailed(Exception):
    """The tests fail with every right in place, so nothing can be shown by taking one away."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tests.

    Attributes:
        failed: The first test that failed, or None.
        refused: What roles were refused: (role, action).
        used: Test → the (role, action) pairs that it used.
        said: The end of what the run printed.
    """

    failed: str | None
    refused: set[tuple[str, str]]
    used: dict[str, set[tuple[str, str]]]
    said: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of taking one right away."""

    right: iam.Right
    verdict: str
    test: str = ""


def run(tests: list[str], *, without: iam.Right | None = None) -> Run:
    """Run tests in a cloud of their own, until one fails."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        environment = os.environ | {"IAM_PROOF_NOTES": str(notes), "TEST_PATIENCE_SECONDS": _PATIENCE_SECONDS}
        if without is not None:
            environment["IAM_PROOF_WITHDRAW"] = json.dumps(asdict(without))
        try:
            done = subprocess.run(  # noqa: S603 - this project's own tests
                [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "--tb=line", "-rfE", *tests],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_LONGEST_RUN_SECONDS,
            )
            status, said = done.returncode, done.stdout
        except subprocess.TimeoutExpired:
            status, said = 1, f"FAILED {tests[0]} - took longer than {_LONGEST_RUN_SECONDS} seconds"
        noted = [json.loads(line) for line in notes.read_text("utf-8").splitlines()] if notes.exists() else []
    first = re.search(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
    used = {note["test"]: {(_id(one["role"]), one["action"]) for one in note["decisions"]} for note in noted}
    refused = {(_id(one["role"]), one["action"]) for note in noted for one in note["decisions"] if not one["allowed"]}
    return Run((first[1] if first else "the start") if status else None, refused, used, said[-2000:])


def _id(role: str) -> str:
    """A role's id in the template: CloudFormation puts the stack's name before it and something random behind."""
    return re.sub(r"^.*-(\w+)-\w+$", r"\1", role)


def examine(right: iam.Right, used: dict[str, set[tuple[str, str]]]) -> Finding:
    """Take one right away and see what breaks."""
    tests = [test for test, pairs in used.items() if (right.role, right.action) in pairs]
    excuse = next((key for key in NOT_SHOWN if fnmatch.fnmatchcase(_name(right), key)), None)
    outcome = run(tests, without=right) if tests else None
    if outcome is None or outcome.failed is None:
        why = "no test uses it" if outcome is None else "every test that uses it passes without it"
        return Finding(right, f"not shown here: {NOT_SHOWN[excuse]}" if excuse else f"SURPLUS: {why}")
    if (right.role, right.action) not in outcome.refused:
        return Finding(right, f"UNCLEAR: a test failed, but this was never refused: {outcome.said}", outcome.failed)
    if excuse:
        return Finding(right, f"SHOWN, so it must go from NOT_SHOWN: {excuse}", outcome.failed)
    return Finding(right, "needed", outcome.failed)


def _name(right: iam.Right) -> str:
    return f"{right.role}:{right.action}:{right.resource}"


def prove(wanted: list[str], workers: int) -> Iterator[Finding]:
    """Examine every right whose `role:action:resource` matches one of the patterns.

    Raises:
        ProofFailed: The tests fail with every right in place.
    """
    whole = run([_TESTS])
    if whole.failed is not None:
        raise ProofFailed(f"With every right in place, {whole.failed} fails:\n{whole.said}")
    used = {test: pairs for test, pairs in whole.used.items() if not any(name in test for name in _NOT_ALONE)}
    with ThreadPoolExecutor(workers) as pool:
        chosen = [right for right in iam.rights() if any(fnmatch.fnmatchcase(_name(right), one) for one in wanted)]
        yield from pool.map(lambda right: examine(right, used), chosen)


def main(arguments: list[str]) -> int:
    """Print a line for each right. Answers the exit status: 1 if one is surplus, or nothing could be shown."""
    parser = argparse.ArgumentParser(prog="tools.iam_proof", description="Takes each right away and shows what breaks.")
    parser.add_argument("--only", nargs="+", default=["*"], help="role:action:resource, with wildcards (default: all)")
    parser.add_argument("--workers", type=int, default=2, help="how many clouds at once (default: 2)")
    chosen = parser.parse_args(arguments)
    bad = count = 0
    print("| Role | Statement | Action | Resource | Without it | First test that fails |\n|" + " --- |" * 6)
    try:
        for finding in prove(chosen.only, chosen.workers):
            right, test = finding.right, finding.test.rpartition("::")[2]
            cells = (right.role, right.sid or "(by SAM)", right.action, right.resource, finding.verdict, test)
            print(f"| {' | '.join(' '.join(cell.split()) for cell in cells)} |", flush=True)
            count += 1
            bad += not finding.verdict.startswith(("needed", "not shown here"))
    except ProofFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    print(f"\n{count} rights taken away one by one, {bad} of them without good reason to be there.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
