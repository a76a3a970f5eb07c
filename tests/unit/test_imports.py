"""Test which module may import which: functions → api → steps → requests → jobs → genviral."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
OURS = {"functions", "shared", "local", "tests", "benchmarks"}
SDK = ("boto3", "botocore")


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, folder
    return found


def imported(path: Path, *, for_types: bool = False) -> Iterator[str]:
    """Return the full names that a module imports at run time, and on request those for the type checker only."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only and not for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def below(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize(
    ("folder", "forbidden"),
    [
        ("functions", ("functions", "local", "tests", "benchmarks")),
        ("shared", ("functions", "local", "tests", "benchmarks")),
        ("shared/genviral", (*SDK, "aws_lambda_powertools", "shared.jobs", "shared.delivery", "shared.steps")),
        ("shared/delivery", (*SDK, "aws_lambda_powertools", "shared.jobs", "shared.genviral", "shared.steps")),
        (
            "shared/jobs",
            (
                *("shared.executions", "shared.api", "shared.steps", "shared.requests", "shared.polling"),
                *("shared.credits", "shared.delivery", "shared.vendor", "shared.genviral.client"),
            ),
        ),
        ("shared/requests", ("shared.executions", "shared.api", "shared.steps", "shared.delivery", "shared.vendor")),
        ("shared/polling", ("shared.executions", "shared.steps", "shared.requests", "shared.genviral")),
        ("shared/credits", ("shared.executions", "shared.steps", "shared.requests", "shared.delivery")),
        ("shared/steps", ("shared.api",)),
        ("local", ("functions", "shared", "tests", "ops")),
        ("ops", ("functions", "local", "tests", "benchmarks")),
        ("ops/console", ("click", "rich", "ops.cli", "ops.commands", "ops.output")),
    ],
)
def test_nobody_imports_what_is_above_or_beside(folder: str, forbidden: tuple[str, ...]) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(folder)
        for name in imported(path)
        if below(name, forbidden)
    ]
    assert not wrong


def test_lower_packages_know_only_the_shape_of_an_error_of_upper_ones() -> None:
    for folder in ("genviral", "delivery"):
        # `shared.printable` imports nothing of ours, and comes with `shared.faults` anyway.
        allowed = (f"shared.{folder}", "shared.boxes", "shared.faults", "shared.printable")
        for path in modules(f"shared/{folder}"):
            assert [name for name in imported(path) if name.startswith("shared") and not below(name, allowed)] == []


def test_functions_import_shared_and_nothing_else_of_ours() -> None:
    for path in modules("functions"):
        ours = {name.partition(".")[0] for name in imported(path)} & OURS
        assert ours == {"shared"}


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_helpers_of_tests_are_imported_by_their_full_names(folder: str) -> None:
    bare = {path.stem for path in modules("tests")}
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in modules(folder)
        for name in imported(path, for_types=True)
        if name.partition(".")[0] in bare or "conftest" in name or ".test_" in name
    ]
    assert not wrong, "tests/support is the place for what several test modules use"


# Every function imports the logger, the AWS clients, and their dependencies.
BASE = {"aws_lambda_powertools", "botocore", "certifi", "dateutil", "jmespath", "six", "typing_extensions", "urllib3"}
VENDOR = {"anyio", "h11", "httpcore", "httpx", "idna"}
# httpcore and httpx use them if installed. The layer has none.
ONLY_HERE = {"h2", "hpack", "hyperframe", "click", "rich", "pygments", "markdown_it", "mdurl"}
MODELS = {"annotated_types", "pydantic", "pydantic_core", "typing_inspection"}
BUDGET = {
    "submit": BASE | VENDOR | MODELS,
    "status": BASE | VENDOR,
    "deliver": BASE | VENDOR,
    "notify": BASE,
    "uploads": BASE,
    "sweep": BASE,
    "batch": BASE,
    "api": BASE,
    "forward": BASE,
}
"""Each function's third-party packages at its start. One more costs milliseconds on every cold start."""
HEAVY = (
    "aws_lambda_powertools.event_handler",
    "aws_lambda_powertools.utilities.idempotency",
    "aws_lambda_powertools.utilities.parameters",
    "aws_lambda_powertools.utilities.parser",
    "aws_lambda_powertools.utilities.validation",
    "multiprocessing",
    "shared.polling.policy",
    "shared.api.create",
)
ALLOWED = {
    "api": {"aws_lambda_powertools.event_handler"},
    "status": {"shared.polling.policy"},
    "submit": {"shared.polling.policy"},
}


def loaded_by(name: str) -> set[str]:
    """Return the modules loaded after a function's start in its own process."""
    code = f"import runpy, sys; runpy.run_path('functions/{name}/app.py'); print(*sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "AWS_DEFAULT_REGION": "us-east-1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stdout.split())


def test_every_function_has_a_budget() -> None:
    assert set(BUDGET) == {path.parent.name for path in modules("functions")}


@pytest.mark.parametrize("name", BUDGET)
def test_a_function_imports_what_it_needs_and_no_more(name: str) -> None:
    before = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    loaded = loaded_by(name) - set(before.stdout.split())
    third_party = {module.partition(".")[0] for module in loaded} - sys.stdlib_module_names - OURS - ONLY_HERE
    assert {package for package in third_party if not package.startswith("_")} == BUDGET[name]
    assert {module for module in loaded if module in HEAVY} == ALLOWED.get(name, set())
