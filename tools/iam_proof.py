"""Prove that no role has more rights than it needs: `make iam-proof` removes one right at a time and runs the tests.

First the integration tests run with every right, and each test's used rights are recorded. Then, for each right in the
template, a new cloud starts without it, and the tests that used it run until one fails. If none fails, the right is
superfluous, unless `NOT_SHOWN` says why the cloud on a laptop cannot show that it is needed.
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
    "A distributed map starts, observes and redrives its children with it; the stand-in runs the map itself. "
    "https://docs.aws.amazon.com/step-functions/latest/dg/iam-policies-eg-dist-map.html"
)
NOT_SHOWN = {
    "*:sqs:SendMessage:EventsDlq": (
        "Lambda sends failed events to this queue; the stand-in does not. "
        "https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html"
    ),
    "*:logs:*": (
        "Step Functions needs it to deliver its log; the stand-in delivers none. "
        "https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html"
    ),
    "*:events:*:rule/StepFunctionsGetEventsForStepFunctionsExecutionRule": (
        "Step Functions gets events about nested executions with it; the stand-in polls. "
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html"
    ),
    "BatchJobRole:states:DescribeExecution:execution:VideoJob:*": (
        "A row's child follows the video's execution with it; the stand-in asks only once it has ended. The map "
        "tolerates a child that fails, and the report reads the jobs' records. "
        "https://docs.aws.amazon.com/step-functions/latest/dg/connect-stepfunctions.html"
    ),
    "BatchJobRole:states:StartExecution:BatchJob": _MAP,
    "BatchJobRole:states:*:execution:BatchJob*": _MAP,
    "*:kms:*": (
        "Needed only with KmsKeyArn, and the stand-in does not check key policies. "
        "https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html"
    ),
}
"""`role:action:resource`, with wildcards → why nothing fails here without it, and AWS's page that requires it."""

# These depend on earlier tests, so alone they would fail even with every right.
_DEPENDENT = ("nothing_private_is_written_anywhere", "the_worked_recipes_make_videos")
_TESTS = "tests/integration"
_TEST_TIMEOUT_SECONDS = "30"
_LONGEST_RUN_SECONDS = 900


class ProofFailed(Exception):
    """The tests fail even with every right, so removing one shows nothing."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the tests.

    Attributes:
        failed: The first test that failed, or None.
        refused: The denied (role, action) pairs.
        used: Test → the (role, action) pairs that it used.
        said: The end of the run's output.
    """

    failed: str | None
    refused: set[tuple[str, str]]
    used: dict[str, set[tuple[str, str]]]
    said: str


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of removing one right."""

    right: iam.Right
    verdict: str
    test: str = ""


def run(tests: list[str], *, without: iam.Right | None = None) -> Run:
    """Run tests in a new cloud until one fails."""
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        environment = os.environ | {"IAM_PROOF_NOTES": str(notes), "TEST_TIMEOUT_SECONDS": _TEST_TIMEOUT_SECONDS}
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
    """Return a role's id in the template, without the stack's name before it and the random suffix."""
    return re.sub(r"^.*-(\w+)-\w+$", r"\1", role)


def examine(right: iam.Right, used: dict[str, set[tuple[str, str]]]) -> Finding:
    """Remove one right and run the tests that used it."""
    tests = [test for test, pairs in used.items() if (right.role, right.action) in pairs]
    excuse = next((key for key in NOT_SHOWN if fnmatch.fnmatchcase(_name(right), key)), None)
    outcome = run(tests, without=right) if tests else None
    if outcome is None or outcome.failed is None:
        why = "no test uses it" if outcome is None else "every test that uses it passes without it"
        return Finding(right, f"not shown here: {NOT_SHOWN[excuse]}" if excuse else f"SURPLUS: {why}")
    if (right.role, right.action) not in outcome.refused:
        return Finding(right, f"UNCLEAR: a test failed, but this was never refused: {outcome.said}", outcome.failed)
    if excuse:
        return Finding(right, f"SHOWN, so remove it from NOT_SHOWN: {excuse}", outcome.failed)
    return Finding(right, "needed", outcome.failed)


def _name(right: iam.Right) -> str:
    return f"{right.role}:{right.action}:{right.resource}"


def prove(wanted: list[str], workers: int) -> Iterator[Finding]:
    """Examine every right whose `role:action:resource` matches one of the patterns.

    Raises:
        ProofFailed: The tests fail even with every right.
    """
    whole = run([_TESTS])
    if whole.failed is not None:
        raise ProofFailed(f"Even with every right, {whole.failed} fails:\n{whole.said}")
    used = {test: pairs for test, pairs in whole.used.items() if not any(name in test for name in _DEPENDENT)}
    with ThreadPoolExecutor(workers) as pool:
        chosen = [right for right in iam.rights() if any(fnmatch.fnmatchcase(_name(right), one) for one in wanted)]
        yield from pool.map(lambda right: examine(right, used), chosen)


def main(arguments: list[str]) -> int:
    """Print a line for each right. Returns the exit status: 1 if one is superfluous, or nothing could be shown."""
    parser = argparse.ArgumentParser(prog="tools.iam_proof", description="Remove each right and show which test fails.")
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
    print(f"\n{count} rights removed one by one; {bad} of them are not shown to be needed.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
