"""Print the test modules that import a changed module.

`make check` runs only these, so that it stays under a minute. `make test` also covers indirect imports, and files that
are not imported (the template, a state machine, a page).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = ("tests/unit", "tests/workflow")


def changed_since(base: str) -> set[Path]:
    """Return the files that differ from a commit, and untracked files, relative to the root."""
    differing = _git("diff", "--name-only", "--relative", base)
    unknown = _git("ls-files", "--others", "--exclude-standard")
    return {Path(name) for name in (*differing, *unknown)}


def concerned(changed: set[Path]) -> list[Path]:
    """Return the modules of tests/unit and tests/workflow that are changed or import a changed module."""
    names = set().union(*map(_names, changed))
    tests = [path for folder in TESTS for path in (ROOT / folder).glob("test_*.py")]
    return sorted(
        path.relative_to(ROOT) for path in tests if path.relative_to(ROOT) in changed or _imports(path) & names
    )


def _names(path: Path) -> set[str]:
    """Return a file's name in import statements; empty if it has none."""
    if path.suffix != ".py":
        return set()
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__")}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{name.name}" for name in node.names)
    return names


def _git(*arguments: str) -> list[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603, S607


if __name__ == "__main__":
    print(*concerned(changed_since(sys.argv[1] if len(sys.argv) > 1 else "HEAD")))
