"""Write the parts of docs/ that are generated from the code: `python -m tools.docs`, `--check` to compare.

docs/openapi.json (`tools.openapi`) and the console's graph (`tools.graph`) are written whole. In a page, a generated
part is between `<!-- generated: NAME -->` and `<!-- end -->`; everything else is written by hand. This module knows
where each fact is: the error tables, the state machine, the template, the transitions of a job, the imports. It must
not contain a fact of its own.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from cli import cli
from ops import batches, recipes
from ops.doctor import checks
from ops.exits import Exit
from ops.facts import FIELDS
from shared import delivery
from shared.api.errors import HTTP_STATUS, advice_on
from shared.faults import Branch, Fault, Paid
from shared.genviral.errors import TABLE, Call, GenerationFailed, GenviralUnavailable, Row
from shared.jobs.errors import BATCH_ERRORS, JOB_ERRORS, UPLOAD_ERRORS, DailyLimitReached, JobClosed, TimedOut
from shared.jobs.notifications import Notification, notification_for
from shared.jobs.record import Job
from shared.jobs.redrives import PROSPECTS, Prospect
from shared.jobs.states import STATES, TERMINAL, Status
from shared.runtime import AwsCallFailed, InternalError, SettingsInvalid
from tools import cost, graph, iam, openapi
from tools.platform_errors import ERRORS, Handling, named
from tools.retries import rule_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROOT = Path(__file__).parents[1]
PAGES = tuple(
    ROOT / "docs" / f"{name}.md"
    for name in (
        "api-errors",
        "architecture",
        "cli",
        "cli-json",
        "cost",
        "doctor",
        "errors",
        "notifications",
        "permissions",
        "platform-errors",
        "statuses",
    )
)

GRAPH = ROOT / "ops" / "console" / "static" / "graph.svg"

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_PARTS = ("shared", "functions", "ops", "local", "tools")
_COLUMNS = tuple(f"`{level}`, {jobs:,} jobs" for level in cost.LEVELS[1:] for jobs in cost.JOBS)
_SUBMIT, _POLL, _DELIVER = "Submit", "Poll", "Deliver"
_OF_TASKS = (Handling.THROTTLED, Handling.PASSING, Handling.MEMORY, Handling.DEPLOYMENT, Handling.FINAL)


@cache
def machine() -> dict[str, Any]:
    """Return the definition of the state machine, with its placeholders."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "statemachine" / "video_job.asl.yaml").read_text("utf-8"))
    return document


@cache
def batch_machine() -> dict[str, Any]:
    """Return the definition of a batch's state machine, with its placeholders."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "statemachine" / "batch_job.asl.yaml").read_text("utf-8"))
    return document


@cache
def template() -> dict[str, Any]:
    """Return the template, with intrinsic functions in their long form."""
    document: dict[str, Any] = yaml_parse((ROOT / "template.yaml").read_text("utf-8"))
    return document


# ---- errors ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Treatment:
    """What a state does about an error.

    Attributes:
        retries: How often it is retried.
        target: The state that a catcher leads to. None: uncaught, the execution fails in this state.
    """

    retries: int
    target: str | None

    @classmethod
    def of(cls, state: str, error: str) -> Treatment:
        """Read it from the definition: the first rule that names the error counts."""
        task = machine()["States"][state]
        retriers = (rule["MaxAttempts"] for rule in task.get("Retry", []) if error in rule["ErrorEquals"])
        targets = (rule["Next"] for rule in task.get("Catch", []) if error in rule["ErrorEquals"])
        return cls(next(retriers, 0), next(targets, None))

    def in_words(self, ending: str) -> str:
        """Describe it. `ending` is the status of a job that is closed."""
        outcome = {None: "`interrupted`", "Hold": "`on_hold`"}.get(self.target, f"`{ending}`")
        return f"{self.retries} retries, then {outcome}" if self.retries else outcome


def _line(state: str, came: str, fault: type[Fault], paid: Paid) -> tuple[str, ...]:
    outcome = Treatment.of(state, fault.__name__).in_words(_ending(fault)) + _afterwards(state, fault.__name__)
    if fault is JobClosed:
        outcome = "the execution ends, the job stays as it is"
    return came, f"`{fault.__name__}`", paid.value, outcome, fault.advice


def _afterwards(state: str, error: str) -> str:
    """Say what follows if the error interrupts the job."""
    is_left = Treatment.of(state, error).target is None
    return ", redriven" if is_left and PROSPECTS.get(error, Prospect.LASTS) is not Prospect.LASTS else ""


def _ending(fault: type[Fault]) -> str:
    if fault.paid is Paid.UNKNOWN:
        return "uncertain"
    return "timed_out" if fault.branch is Branch.TIMED_OUT else "failed"


def _paid_call() -> str:
    lines = [_line(_SUBMIT, _answer(row), row.fault, row.paid) for row in TABLE if row.call is not Call.READ]
    # With a daily limit, the prices are asked for before anything is sent.
    lines.append(_line(_SUBMIT, "no usable list of prices, with `DailyCreditLimit`", GenviralUnavailable, Paid.NO))
    return _errors(lines)


def _polls() -> str:
    lines = [_line(_POLL, _answer(row), row.fault, Paid.YES) for row in TABLE if row.call is not Call.SUBMIT]
    lines.append(_line(_POLL, _said(JobClosed), JobClosed, Paid.YES))
    # Not raised by Poll but answered, so no catcher names them.
    for came, fault in (("200, and the video's own status is `failed`", GenerationFailed), (_said(TimedOut), TimedOut)):
        lines.append((came, f"`{fault.__name__}`", Paid.YES.value, f"`{_ending(fault)}`", fault.advice))
    return _errors(lines)


def _requests() -> str:
    return _errors(_line(_SUBMIT, _said(fault), fault, fault.paid) for fault in JOB_ERRORS if fault is not TimedOut)


def _api() -> str:
    lines = sorted((status, fault.code, fault) for fault, status in HTTP_STATUS.items())
    return _table(
        ("HTTP", "`error_code`", "Error", "What you do"),
        ((str(status), f"`{code}`", f"`{fault.__name__}`", advice_on(fault)) for status, code, fault in lines),
    )


def _batches() -> str:
    lines = [(_said(fault), f"`{fault.__name__}`", fault.advice) for fault in BATCH_ERRORS]
    lines.append((Handling.LIST.what.rstrip("."), _ticked(named(Handling.LIST)), Handling.LIST.advice))
    return _table(("What happened", "Error", "What you do"), lines)


def _ignored_uploads() -> str:
    lines = [(_said(fault), f"`{fault.__name__}`", fault.advice) for fault in UPLOAD_ERRORS]
    return _table(("What happened", "Error", "What you do"), lines)


def _delivery() -> str:
    return _errors(_line(_DELIVER, _said(fault), fault, fault.paid) for fault in delivery.ERRORS)


def _platform() -> str:
    """Tabulate what each state that calls a function does about errors of the platform and of this project."""
    lines = [
        (_said(fault), [fault.__name__], fault.advice) for fault in (AwsCallFailed, InternalError, SettingsInvalid)
    ]
    lines += [(kind.what.rstrip("."), named(kind), kind.advice) for kind in _OF_TASKS]
    alike: dict[tuple[str, ...], list[str]] = {}
    for state in _calls_of_functions():
        alike.setdefault(tuple(_tried(state, errors[0]) for _, errors, _ in lines), []).append(f"`{state}`")
    head = ("What happened", "Error", *(f"In {', '.join(states)}" for states in alike.values()), "What you do")
    cells = (
        (what, _ticked(errors), *tried, advice) for (what, errors, advice), *tried in zip(lines, *alike, strict=True)
    )
    return _table(head, cells)


def _platform_absent() -> str:
    errors: dict[str, dict[str, None]] = {}
    for error in ERRORS:
        if error.needs:
            errors.setdefault(error.needs, {})[error.name] = None
    return _table(("What it would take", "Error"), ((needs, _ticked(names)) for needs, names in errors.items()))


def _calls_of_functions() -> dict[str, dict[str, Any]]:
    """Return the states of both machines that call a function."""
    states = {**machine()["States"], **batch_machine()["States"], **_states_of_a_row()}
    return {name: state for name, state in states.items() if state.get("Resource", "").endswith(":lambda:invoke")}


def _states_of_a_row() -> dict[str, dict[str, Any]]:
    states: dict[str, dict[str, Any]] = batch_machine()["States"]["Rows"]["ItemProcessor"]["States"]
    return states


def _tried(state: str, error: str) -> str:
    """Describe the outcome of an error."""
    # The map tolerates the failure of every row, so that a row ends alike whether its error was caught or not.
    outcome = "the row is `not_started`" if state in _states_of_a_row() else "`interrupted`"
    retrier = rule_for(_calls_of_functions()[state], "Retry", error)
    described = f"{retrier['MaxAttempts']} retries, then {outcome}" if retrier else outcome
    return described + _afterwards(state, error) if state in machine()["States"] else described


def _answer(row: Row) -> str:
    status = " or ".join(map(str, row.statuses))
    codes = ", ".join(f"`{code}`" for code in row.codes)
    return f"{status} {codes}: {row.when}" if status else row.when


def _said(fault: type[Fault]) -> str:
    """Return what a class's docstring says happened."""
    return f"`{fault.code}`: {_sentence(inspect.getdoc(fault) or '')}"


def _sentence(docstring: str) -> str:
    """Return its first sentence, without the full stop."""
    return re.split(r"(?<=\w)\. ", " ".join(docstring.split("\n\n")[0].split()))[0].rstrip(".")


def _errors(lines: Iterable[tuple[str, ...]]) -> str:
    return _table(("What happened", "Error", "Paid?", "What the machine does", "What you do"), lines)


# ---- architecture ----------------------------------------------------------------------------------------------------


def _diagram() -> str:
    states = machine()["States"]
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f'    state "{name}" as {_id(name)}' for name in states if _id(name) != name]
    lines.append(f"    [*] --> {_id(machine()['StartAt'])}")
    for name, state in states.items():
        for target, label in _ways(state):
            lines.append(f"    {_id(name)} --> {_id(target)}" + (f": {label}" if label else ""))
        if state.get("End") or state["Type"] in ("Fail", "Succeed"):
            lines.append(f"    {_id(name)} --> [*]")
    return "\n".join([*lines, "```"])


def _ways(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for choice in state.get("Choices", []):
        yield choice["Next"], _condition(choice)
    if "Default" in state:
        yield state["Default"], "otherwise"
    if "Next" in state:
        yield state["Next"], ""
    caught: dict[str, dict[str, None]] = {}
    for rule in state.get("Catch", []):
        caught.setdefault(rule["Next"], {}).update(dict.fromkeys(map(_kind, rule["ErrorEquals"])))
    for target, kinds in caught.items():
        yield target, ", ".join(kinds)


def _condition(choice: dict[str, Any]) -> str:
    if "Or" in choice:
        return " or ".join(_condition(part) for part in choice["Or"])
    field = choice["Variable"].removeprefix("$.")
    if "IsPresent" in choice:
        return f"has {field}"
    value = next(value for name, value in choice.items() if name not in ("Variable", "Next"))
    return field if value is True else f"{field} is {value}"


def _kind(error: str) -> str:
    """Name the sort of error that a catcher waits for."""
    faults: dict[str, type[Fault]] = {fault.__name__: fault for fault in (*JOB_ERRORS, *delivery.ERRORS)}
    fault = {**faults, **{row.fault.__name__: row.fault for row in TABLE}}[error]
    if fault.paid is Paid.UNKNOWN:
        return "uncertain"
    if fault.branch is Branch.HOLD:
        return "daily limit" if fault is DailyLimitReached else "account error"
    return "rejected" if fault.branch is Branch.REJECT else "failed"


def _id(name: str) -> str:
    return re.sub(r"\W", "", name)


def _transitions() -> str:
    lines = []
    for status, state in STATES.items():
        moves = ", ".join(f"`{target}`" for target in STATES if target in state.leads_to)
        by_whom = "nobody" if not state.leads_to else "an operator" if status in TERMINAL else "the job"
        lines.append((f"`{status}`", "yes" if status in TERMINAL else "no", moves or "—", by_whom))
    return _table(("Status", "Terminal", "May become", "Moved by"), lines)


def _functions() -> str:
    lines = []
    for resource in template()["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            facts = resource["Properties"]
            size = f"{facts['Timeout']} s", f"{facts['MemorySize']} MB"
            lines.append((f"`{facts['CodeUri'].rstrip('/')}`", facts["Description"], *size))
    return _table(("Function", "What it does", "Time-out", "Memory"), lines)


def imports() -> dict[str, set[str]]:
    """Map each part of the code to the parts that it imports, also if only for types. `shared` has several parts."""
    found: dict[str, set[str]] = {}
    for file in sorted(file for part in _PARTS for file in ROOT.glob(f"{part}/**/*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if module not in ("shared", "shared.slim_sdk"):  # what all import, and what only the build runs
            part = _part(module)
            found.setdefault(part, set()).update({_part(name) for name in _imported(file)} - {part})
    return found


def _imported(file: Path) -> Iterator[str]:
    """Yield the modules of this project that a file imports."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"shared.{alias.name}" for alias in node.names] if node.module == "shared" else [node.module]
        yield from (name for name in names if name.split(".")[0] in _PARTS)


def _part(module: str) -> str:
    top, _, rest = module.partition(".")
    return f"shared.{rest.split('.')[0]}" if top == "shared" else top


def _imports() -> str:
    lines = []
    for part, others in imports().items():
        listed = ", ".join(f"`{other}`" for other in sorted(others))
        lines.append((f"`{part}`", _purpose(part), listed or "nothing of this project"))
    return _table(("Part", "What it is", "Imports"), lines)


def _purpose(part: str) -> str:
    """Return the first sentence of its docstring."""
    path = ROOT.joinpath(*part.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.exists():
        return "One handler for each Lambda function"
    return _sentence(ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "")


# ---- notifications ---------------------------------------------------------------------------------------------------


def _sample_notice() -> Notification:
    """Make the notification of a made-up job that succeeded."""
    job_id = "s3-4f1c8a3d2b5e697081a2b3c4d5e6f70819283a4b"
    job = Job(
        job_id=job_id,
        status=Status.SUCCEEDED,
        created_at="2026-11-22T10:15:30.482Z",
        source={"type": "upload", "bucket": "example-uploads", "key": "uploads/shoes/red shoe.jpg"},
        timeline={"succeeded": "2026-11-22T10:19:04.117Z"},
        recipe="shoes",
        model_id="bytedance/seedance-2.0",
        video_id="22222222-2222-2222-2222-222222222222",
        credits_used=5,
        output={
            "bucket": "example-videos",
            "key": f"videos/2026/11/22/{job_id}.mp4",
            "bytes": 377_576,
            "duration_seconds": 5.0,
            "width": 486,
            "height": 864,
        },
        metadata={"file": "red shoe.jpg"},
        notice_due="succeeded",
        execution=f"arn:aws:states:us-east-1:123456789012:execution:VideoJob:{job_id}",
    )
    return notification_for(job)


def _mail() -> str:
    return f"```text\n{_sample_notice().text}\n```"


def _notification() -> str:
    return f"```json\n{json.dumps(_sample_notice().message, indent=2, ensure_ascii=False)}\n```"


# ---- permissions -----------------------------------------------------------------------------------------------------


def _permissions() -> str:
    """Tabulate each statement; one that several roles have names them all."""
    lines: dict[tuple[str, str], tuple[dict[str, None], dict[str, None], dict[str, None]]] = {}
    for right in iam.rights():
        roles, actions, resources = lines.setdefault((right.policy, right.sid or "added by SAM"), ({}, {}, {}))
        roles[right.role], actions[right.action], resources[right.resource] = None, None, None
    head = ("Role", "Statement", "May", "On")
    return _table(
        head, ((_ticked(roles), sid, _ticked(may), _ticked(on)) for (_, sid), (roles, may, on) in lines.items())
    )


def _managed_policies() -> str:
    roles: dict[str, dict[str, None]] = {}
    for role, policies in iam.managed_by_aws().items():
        for policy in policies:
            roles.setdefault(policy, {})[role] = None
    return _table(("Policy", "Roles"), ((f"`{policy}`", _ticked(those)) for policy, those in roles.items()))


def _ticked(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# ---- commands --------------------------------------------------------------------------------------------------------

_EVERYWHERE = frozenset({"--json", "--stack", "--region", "--profile", "--help"})


def _exit_codes() -> str:
    return _table(("Code", "Name", "When"), ((f"{code:d}", code.name.lower(), code.meaning) for code in Exit))


def _commands() -> str:
    lines = []
    for name, command in cli.commands.items():
        given = [
            param.make_metavar(click.Context(command))
            for param in command.params
            if param.param_type_name == "argument"
        ]
        text = inspect.cleandoc(command.help or "").replace("\n\n", " ")
        lines.append((f"**`{' '.join([name, *given])}`**", " ".join(text.split())))
        for option in command.params:
            if isinstance(option, click.Option) and not (option.hidden or _EVERYWHERE & set(option.opts)):
                words = (
                    option.opts[0]
                    if option.is_flag
                    else f"{option.opts[0]} {option.make_metavar(click.Context(command))}"
                )
                default = "" if option.is_flag or not option.show_default else f" (default: {option.default})"
                lines.append((f"`{words}`", f"{option.help}{default}"))
    return _table(("Command or option", ""), lines)


def _checks() -> str:
    return _table(
        ("Check", "What should hold", "If not"),
        ((f"`{one.name}`", one.asks, _linked(one.advice)) for one in checks.CHECKS),
    )


def _linked(advice: str) -> str:
    """Make the pages that an advice names links on a page beside them."""
    return re.sub(r"docs/([\w-]+)\.md((?:#[\w-]+)?)", r"[\1](\1.md\2)", advice)


def _fields(fields: dict[str, str]) -> str:
    return _table(("Field", ""), ((f"`{name}`", meaning) for name, meaning in fields.items()))


# ---- pages -----------------------------------------------------------------------------------------------------------


def _table(head: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> str:
    rows = [head, ("---",) * len(head), *lines]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows)


BLOCKS: dict[str, Callable[[], str]] = {
    "paid-call": _paid_call,
    "polls": _polls,
    "requests": _requests,
    "ignored-uploads": _ignored_uploads,
    "api": _api,
    "batches": _batches,
    "delivery": _delivery,
    "platform": _platform,
    "platform-absent": _platform_absent,
    "diagram": _diagram,
    "transitions": _transitions,
    "functions": _functions,
    "imports": _imports,
    "mail": _mail,
    "notification": _notification,
    "permissions": _permissions,
    "managed-policies": _managed_policies,
    "idle": lambda: _table(("What", "At", *(f"`{level}`" for level in cost.LEVELS)), cost.idle_table()),
    "months": lambda: _table(("`Monitoring`", *(f"{jobs:,} jobs" for jobs in cost.JOBS)), cost.total_table()),
    "alarms": lambda: _table(("Alarm", "$ a month", "With"), cost.alarm_table()),
    "metrics": lambda: _table(("Metric", *_COLUMNS), cost.metric_table()),
    "exit-codes": _exit_codes,
    "commands": _commands,
    "json-job": lambda: _fields(FIELDS),
    "json-batch": lambda: _fields(batches.FIELDS),
    "json-recipe": lambda: _fields(recipes.FIELDS),
    "json-check": lambda: _fields(checks.FIELDS),
    "checks": _checks,
}


def rendered(page: str) -> str:
    """Render a page with its generated parts as the code has them now.

    Raises:
        KeyError: The page asks for a part that does not exist.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}{BLOCKS[match['name']]()}\n{match[3]}", page)


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` say which are stale. Return the exit status."""
    parser = argparse.ArgumentParser(prog="tools.docs", description="Writes the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args(arguments).check
    written = {page: rendered(page.read_text("utf-8")) for page in PAGES}
    written |= {openapi.PATH: openapi.text(), GRAPH: graph.svg(machine(), _ways)}
    stale = {page: text for page, text in written.items() if not page.exists() or page.read_text("utf-8") != text}
    for page, text in stale.items():
        sys.stdout.write(f"{page.relative_to(ROOT)} {'is stale: run make docs' if check else 'written'}\n")
        if not check:
            page.write_text(text, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
