"""Test that the docs match the code: generated parts are fresh, every error is listed, imports run one way."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks import cost as benchmark
from shared.faults import Fault
from shared.genviral.errors import AccountFault, GenviralFault, InsufficientCredits, RequestRefused
from shared.jobs.errors import RequestFault
from shared.jobs.transitions import JobStore
from shared.requests import upload_keys as keys
from shared.requests.recipes import ASSETS, BATCHES, PLANS, RECIPES, REQUESTS, UPLOADS
from tools import cost, deploy, docs
from tools.platform_errors import ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

ERROR_MODULES = ("shared.genviral.errors", "shared.jobs.errors", "shared.delivery.errors", "shared.runtime")
PAGES = sorted({*docs.ROOT.glob("*.md"), *(docs.ROOT / "docs").rglob("*.md")})
BASES = {Fault, GenviralFault, AccountFault, RequestRefused, RequestFault}
LAYERS = (
    {"shared.boxes", "shared.printable", "shared.strict_json"},
    {"shared.faults"},
    {"shared.genviral", "shared.delivery", "shared.runtime"},
    {"shared.jobs", "shared.vendor"},
    {"shared.executions", "shared.requests", "shared.polling", "shared.credits"},
    {"shared.steps"},
    {"shared.api"},
    {"functions", "ops", "local"},
    {"tools"},
)
"""A part may import only from layers above its own in this list."""


def errors_of(module: ModuleType) -> dict[str, type[Fault]]:
    members = inspect.getmembers(module, inspect.isclass)
    return {name: kind for name, kind in members if issubclass(kind, Fault) and kind.__module__ == module.__name__}


def page(name: str) -> str:
    return (docs.ROOT / "docs" / name).read_text()


def test_no_page_is_stale() -> None:
    assert docs.main(["--check"]) == 0, "run `make docs`"


def test_the_check_sees_a_stale_page_and_writing_fixes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("By hand.\n<!-- generated: transitions -->\nyesterday's table\n<!-- end -->\nBy hand, too.\n")
    monkeypatch.setattr(docs, "ROOT", tmp_path)
    monkeypatch.setattr(docs, "PAGES", (page,))
    assert docs.main(["--check"]) == 1
    assert "page.md is stale" in capsys.readouterr().out
    assert docs.main([]) == 0
    assert docs.main(["--check"]) == 0
    text = page.read_text()
    assert text.startswith("By hand.\n")
    assert text.endswith("\nBy hand, too.\n")
    assert "yesterday" not in text
    assert "| `queued` |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(docs.ROOT)))
def test_a_pages_links_lead_to_pages_and_headings(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        file, _, heading = link.partition("#")
        if not file.startswith("http"):
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), link
            assert not heading or heading in headings(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(docs.ROOT)))
def test_a_page_is_short_and_its_prose_wrapped(page: Path) -> None:
    assert page.name == "CHANGELOG.md" or len(page.read_text().splitlines()) <= 200
    lines = [line for line in prose(page).splitlines() if not line.startswith(("|", "<!--"))]
    assert [line for line in lines if len(line) > 120 and " " in line.strip().removeprefix("- ")] == []


def prose(page: Path) -> str:
    """Return a page without its blocks of code."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def headings(page: Path) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_generated_part_stands_on_a_page() -> None:
    text = "".join(page.read_text() for page in docs.PAGES)
    assert set(re.findall(r"<!-- generated: ([a-z-]+) -->", text)) == set(docs.BLOCKS)
    assert text.count("<!-- generated: ") == text.count("<!-- end -->") == len(docs.BLOCKS)


ERROR_PAGES = ("errors.md", "platform-errors.md", "api-errors.md")


def test_every_error_is_on_a_page_with_its_advice() -> None:
    text = "".join(map(page, ERROR_PAGES))
    for module in map(importlib.import_module, ERROR_MODULES):
        for name, kind in errors_of(module).items():
            assert kind in BASES or (f"| `{name}` |" in text and kind.advice in text), name


def test_the_pages_name_only_errors_that_exist() -> None:
    text = "".join(map(page, ERROR_PAGES))
    known = {name for module in map(importlib.import_module, ERROR_MODULES) for name in errors_of(module)}
    known |= {error.name for error in ERRORS}
    named = [name for line in text.splitlines() for name in re.findall(r"\| ((?:`[A-Z][\w.]+`(?:, )?)+) \|", line)]
    assert {name.strip("`") for names in named for name in names.split(", ")} - known == set()


@pytest.mark.parametrize("name", ERROR_MODULES[:3])
def test_the_tree_in_a_modules_docstring_is_the_tree_in_its_code(name: str) -> None:
    module = importlib.import_module(name)
    drawn = re.findall(r"^([^\w\n]*[├└]─+)[^\w\n]*(\w+)", module.__doc__ or "", re.MULTILINE)
    parents: list[tuple[int, str]] = [(-1, "Fault")]
    tree = {}
    for indent, child in drawn:
        while parents[-1][0] >= len(indent):
            parents.pop()
        tree[child] = parents[-1][1]
        parents.append((len(indent), child))
    assert tree == {child: kind.__bases__[0].__name__ for child, kind in errors_of(module).items()}


def test_imports_run_one_way() -> None:
    layer = {part: depth for depth, parts in enumerate(LAYERS) for part in parts}
    for part, others in docs.imports().items():
        assert part in layer, f"{part} needs a place in LAYERS"
        assert not {other for other in others if layer[other] >= layer[part]}, part
    found = docs.imports()
    assert found["shared.genviral"] <= {"shared.faults", "shared.printable"}
    assert found["shared.delivery"] == {"shared.boxes", "shared.faults"}
    assert not found["local"], "the laptop's cloud knows the project only through its template"


def test_the_diagram_shows_every_way_from_state_to_state() -> None:
    ways = set()
    for name, state in docs.machine()["States"].items():
        rules = (state, *state.get("Catch", []), *state.get("Choices", []))
        targets = {rule.get("Next") for rule in rules} | {state.get("Default")}
        ways |= {f"{name} --> {target}".replace("?", "") for target in targets if target}
    drawn = set(re.findall(r"\w+ --> \w+", docs.BLOCKS["diagram"]()))
    assert drawn == ways


def test_the_limit_on_the_apis_page_is_the_stages() -> None:
    limit = docs.template()["Resources"]["HttpStage"]["Properties"]["DefaultRouteSettings"]
    limits = f"about {limit['ThrottlingRateLimit']} requests a second, and {limit['ThrottlingBurstLimit']} at once"
    assert limits in " ".join(page("api-errors.md").split())


def test_what_the_pages_forbid_to_copy_is_what_starts_jobs() -> None:
    """For S3's event a copy is an upload, and each upload is paid for."""
    rule = docs.template()["Resources"]["UploadsFunction"]["Properties"]["Events"]["ObjectCreated"]["Properties"]
    assert rule["Pattern"]["detail"]["object"]["key"] == [{"anything-but": {"prefix": [PLANS, ASSETS]}}]
    paying = {UPLOADS, REQUESTS, BATCHES}
    kinds = {place: keys.type_of(f"{place}a.json") for place in (*paying, RECIPES, PLANS, ASSETS)}
    assert {place for place, kind in kinds.items() if kind not in (None, "recipe")} == paying
    for name, opening in (("own-key.md", "Never copy"), ("deploy.md", "A copy under")):
        (forbidden,) = re.findall(rf"\*\*{opening} ((?:`\w+/`(?:, | or )?)+)", " ".join(page(name).split()))
        assert set(re.findall(r"\w+/", forbidden)) == paying
    advised = re.findall(r"sync s3://<old UploadsBucket>/(\S*) s3://<UploadsBucket>/(\S*)", page("deploy.md"))
    assert advised == [(RECIPES, RECIPES), (ASSETS, ASSETS)]


def test_the_pages_mail_subscriptions_filter_like_the_stacks_own() -> None:
    own = docs.template()["Resources"]["EmailSubscription"]["Properties"]["FilterPolicy"]
    outputs = dict.fromkeys(docs.template()["Outputs"], "arn:aws:service:region:account:name")
    advice = deploy.first_steps(outputs | {"AlarmTopicArn": "the-alarms"}, deploy.Target("stack", None, None))
    text = "\n".join([*(one.read_text() for one in PAGES), advice]).replace("\\\n", "")
    commands = re.findall(r"^ *aws sns subscribe .*--protocol email.*$", text, re.MULTILINE)
    commands = [command for command in commands if "the-alarms" not in command]
    assert len(commands) >= 2
    for command in commands:
        words = shlex.split(command)
        attributes = json.loads(words[words.index("--attributes") + 1])
        assert json.loads(attributes["FilterPolicy"]) == own, command


def test_updating_warns_first_of_what_an_update_removes() -> None:
    start, *_ = page("update.md").split("git pull && make deploy\n")
    (command,) = re.findall(r"```sh\n(.*?)\n```", start, re.DOTALL)
    assert 'make deploy ARGS="--parameter-overrides Monitoring=full"' in command
    only_full = cost.alarms("full").keys() - cost.alarms("essential").keys()
    assert (len(only_full), "two dashboards and eleven alarms" in " ".join(start.split())) == (11, True)


def test_a_command_that_deletes_names_its_stack_and_no_command_has_the_key() -> None:
    commands = [line for one in PAGES for line in one.read_text().splitlines() if not line.startswith("|")]
    deleting = [line for line in commands if re.match(r"\s*\S*\bsam delete", line)]
    assert deleting
    assert [line for line in deleting if not {"--stack-name", "--region"} <= set(line.split())] == []
    keys = [line for line in commands if "--secret-string" in line]
    assert keys
    assert [line for line in keys if "--secret-string file://" not in line] == []


def test_the_months_to_compare_say_that_they_leave_sweeps_and_alarms_out() -> None:
    """`make cost` writes them, and Monitoring's months on the same page are higher."""
    assert benchmark.MONTH in page("cost.md")
    assert "Sweeps,\nmetrics and alarms are left out" in benchmark.MONTH


def policies(name: str) -> list[dict[str, dict[str, Any]]]:
    """Return the IAM policies on a page: `Sid` → statement."""
    blocks = re.findall(r"```json\n(.*?)```", page(name), re.DOTALL)
    found = [json.loads(block)["Statement"] for block in blocks if '"Statement"' in block]
    return [{statement["Sid"]: statement for statement in statements} for statements in found]


def test_deploying_with_a_key_has_the_table_and_secret_rights_aws_needs() -> None:
    (deployer,) = [policy for policy in policies("own-key.md") if "GiveTheKeyToTheTable" in policy]
    used = docs.template()["Resources"]["UseOfYourKey"]["Properties"]["PolicyDocument"]["Statement"]
    functions = {statement["Sid"]: set(statement["Action"]) for statement in used}
    table, secret = deployer["GiveTheKeyToTheTable"], deployer["EncryptTheSecret"]
    assert set(table["Action"]) == functions["ThroughTheTable"] | {"kms:CreateGrant"}
    assert set(secret["Action"]) == functions["ThroughS3SecretsAndTopics"]
    assert table["Condition"]["StringEquals"]["kms:ViaService"].startswith("dynamodb.")
    assert secret["Condition"]["StringEquals"]["kms:ViaService"].startswith("secretsmanager.")


def test_an_operator_may_replay_parked_events_to_every_function() -> None:
    (operator,) = [policy for policy in policies("operator-access.md") if "InvokeThemAgain" in policy]
    parking = {
        name
        for name, one in docs.template()["Resources"].items()
        if "OnFailure" in one.get("Properties", {}).get("EventInvokeConfig", {}).get("DestinationConfig", {})
    }
    named = {arn.rpartition(":")[2] for arn in operator["InvokeThemAgain"]["Resource"]}
    assert named == {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper() for name in parking}
    for statement in operator.values():
        assert (statement["Effect"], "*" in (statement["Resource"], statement["Action"])) == ("Allow", False)


def test_the_example_of_an_error_is_what_the_code_says() -> None:
    (example,) = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", page("errors.md"), re.DOTALL)]
    assert (example["error"], example["advice"]) == (InsufficientCredits.__name__, InsufficientCredits.advice)
    assert (example["code"], example["paid"]) == (InsufficientCredits.code, InsufficientCredits.paid.value)


def test_the_quotas_name_the_retries_of_a_429() -> None:
    (row,) = re.findall(r"^\| Genviral \|.*$", page("limits.md"), re.MULTILINE)
    assert {docs.Treatment.of(state, "RateLimited") for state in re.findall(r"`([A-Z]\w+)`", row)} == {
        docs.Treatment(int(times), None) for times in re.findall(r"(\d+) times", row)
    }


def test_every_parameter_stands_in_the_readme_with_its_default() -> None:
    readme = (docs.ROOT / "README.md").read_text()
    table = {
        name: default.strip("` ")
        for line in readme.splitlines()
        if line.startswith("| `") and line.count("|") == 4
        for names, defaults in [line.split("|")[1:3]]
        for name, default in zip(names.replace("`", "").split(","), defaults.split(",") * 2, strict=False)
        for name in [name.strip()]
    }
    parameters = docs.template()["Parameters"]
    assert table == {name: str(parameter["Default"]) or "empty" for name, parameter in parameters.items()}


# ---- docs/writes.md --------------------------------------------------------------------------------------------------

_OF_THE_STORE = {name for name, member in vars(JobStore).items() if callable(member) and not name.startswith("_")}
_OF_THE_CLIENT = {"put_item", "update_item", "delete_item", "transact_write_items"}


def writing() -> Iterator[str]:
    """Return every function that writes to the jobs table, as `module.Class.function`, except the store's own."""
    for file in sorted(path for part in ("shared", "functions", "ops") for path in (docs.ROOT / part).rglob("*.py")):
        if file.stem != "transitions":
            yield from (f"{file.stem}.{name}" for name in _writing(ast.parse(file.read_text()), ()))


def _writing(node: ast.AST, names: tuple[str, ...]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        inside = (*names, child.name) if isinstance(child, ast.FunctionDef | ast.ClassDef) else names
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            called, on = child.func.attr, ast.unparse(child.func.value)
            if (called in _OF_THE_STORE and on.endswith("store")) or called in _OF_THE_CLIENT:
                yield ".".join(names)
        yield from _writing(child, inside)


def test_every_write_of_the_table_is_documented() -> None:
    page = (docs.ROOT / "docs" / "writes.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert len(rows) == len({where for where, *_ in rows})
    assert {where for where, *_ in rows} == set(writing())
