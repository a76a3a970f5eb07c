"""Who may import whom. The arrows run one way: functions → steps → jobs, delivery → genviral."""

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


def imported(path: Path) -> Iterator[str]:
    """Full names of all that a module imports when it runs; what only the type checker sees is left out."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
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
        ("shared/jobs", ("shared.steps", "shared.delivery", "shared.vendor", "shared.genviral.client")),
        ("local", ("functions", "shared", "tests")),
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


def test_the_lower_packages_know_of_the_upper_ones_nothing_but_the_shape_of_an_error() -> None:
    for folder in ("genviral", "delivery"):
        allowed = (f"shared.{folder}", "shared.faults")
        for path in modules(f"shared/{folder}"):
            assert [name for name in imported(path) if name.startswith("shared") and not below(name, allowed)] == []


def test_functions_import_shared_and_nothing_else_of_ours() -> None:
    for path in modules("functions"):
        ours = {name.partition(".")[0] for name in imported(path)} & OURS
        assert ours == {"shared"}


@pytest.mark.parametrize("name", ["status", "notify", "deliver", "uploads", "sweep", "api"])
def test_who_does_not_validate_does_not_pay_for_pydantic(name: str) -> None:
    code = f"import runpy, sys; runpy.run_path('functions/{name}/app.py'); print('pydantic' in sys.modules)"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "AWS_DEFAULT_REGION": "us-east-1", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == "False"
