"""Test the program that has all commands: its help, its version, its completion, and who may import its libraries."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from local import __main__ as laptop
from ops import __main__ as operating
from ops.exits import Exit

ROOT = Path(__file__).parents[2]
COMMANDS = sorted(cli.cli.commands)


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this project's own command
        [sys.executable, str(ROOT / "cli.py"), *words],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)], ids=" ".join)
def test_help_fits_a_small_terminal_and_has_an_example(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main([*command, "--help"]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "..." not in out.partition("Commands:")[2], "a command's first sentence is too long for the list"
    plain = ("stop-intake", "start-intake", "completion")
    assert not command or command[0] in plain or f"  genviral {command[0]}" in out


def test_the_two_halves_make_the_whole() -> None:
    halves = [str(command.name) for command in (*laptop.COMMANDS, *operating.COMMANDS)]
    assert sorted([*halves, "completion"]) == COMMANDS
    assert all("--json" in option.opts for name in halves for option in cli.cli.commands[name].params[-1:]) or all(
        any("--json" in option.opts for option in cli.cli.commands[name].params) for name in halves
    )


def test_the_version_is_the_projects() -> None:
    assert run("--version").stdout.strip() in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell: str) -> None:
    assert f"_GENVIRAL_COMPLETE={shell}_complete" in run("completion", shell).stdout


@pytest.mark.parametrize(
    ("output", "code", "words"),
    [(">/dev/full", Exit.REFUSED, "No space left"), (">&-", 0, ""), (">&- <&-", 0, ""), ("2>&-", 0, "")],
)
@pytest.mark.parametrize("command", ["cli.py completion bash", "cli.py --help", "-m local --help"])
def test_an_output_that_takes_nothing_is_no_failed_job(command: str, output: str, code: Exit, words: str) -> None:
    line = f'"$0" {command} {output}'
    answer = subprocess.run(  # noqa: S603 - this project's own command
        ["/bin/sh", "-c", line, sys.executable], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, words in answer.stderr, len(answer.stderr.splitlines()) <= 1) == (code, True, True)


def test_a_closed_pipe_is_no_failed_job() -> None:
    read, write = os.pipe()
    os.close(read)
    for command in ("cli.py", "completion", "bash"), ("cli.py", "--help"), ("-m", "local", "--help"):
        answer = subprocess.run(  # noqa: S603 - this project's own command
            [sys.executable, *command], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, check=False
        )
        assert (answer.returncode, answer.stderr) == (Exit.UNREAD, b"")
    os.close(write)


@pytest.mark.parametrize("words", [[], ["completion"], ["demo", "--image", "nowhere.png"]], ids=" ".join)
def test_a_message_of_several_lines_stays_one_of_several_lines(words: list[str]) -> None:
    answer = run(*words)
    assert answer.returncode == Exit.USAGE
    assert "Usage: genviral" in answer.stderr.splitlines()[0]
    assert not {"\\n", "\\t", " blanks]"} & {part for part in ("\\n", "\\t", " blanks]") if part in answer.stderr}


def test_a_parameter_that_is_not_in_the_template_is_a_wrong_argument() -> None:
    answer = run("up", "--set", "Nope=1")
    assert (answer.returncode, "no parameter Nope" in answer.stderr) == (Exit.USAGE, True)


def test_completion_knows_commands_options_and_values() -> None:
    for words, expected in (("genviral sub", "submit"), ("genviral list --status unc", "uncertain")):
        answer = run(_GENVIRAL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
        assert f"plain,{expected}" in answer.stdout.splitlines()


def test_a_mistyped_command_is_answered_with_the_meant_one() -> None:
    answer = run("shwo")
    assert (answer.returncode, answer.stdout) == (Exit.USAGE, "")
    assert "Did you mean 'show'?" in answer.stderr


def test_a_usage_error_is_json_where_that_was_asked_for() -> None:
    answer = run("list", "--limit", "many", "--json")
    assert answer.returncode == Exit.USAGE
    assert '"kind": "usage"' in answer.stdout


def test_nothing_of_a_lambda_imports_what_the_command_line_is_built_on() -> None:
    files = [file for part in ("functions", "shared") for file in (ROOT / part).rglob("*.py")]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.partition(".")[0] for name in names} & {"click", "rich", "cli"}, file
    assert "click" not in (ROOT / "shared" / "requirements.txt").read_text()


def test_help_imports_nothing_that_is_slow() -> None:
    code = "import sys, cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S603
    assert not {"boto3", "botocore", "rich", "av", "httpx", "moto", "pydantic"} & set(loaded.stdout.split())
