"""Test what other linters read: the whole template and every state machine. Only wrong findings are dropped."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tools import asl
from tools import translate_template as plain

if TYPE_CHECKING:
    from pathlib import Path


def test_the_template_is_plain_cloudformation() -> None:
    kinds = {resource["Type"] for resource in plain.template()["Resources"].values()}
    assert {"AWS::IAM::Role", "AWS::Lambda::Function", "AWS::StepFunctions::StateMachine"} <= kinds
    assert not [kind for kind in kinds if kind.startswith("AWS::Serverless")]


def test_every_state_machine_is_read_with_all_its_substitutions() -> None:
    machines = plain.machines()
    assert machines.keys() == {path.name for path in (plain.ROOT / "statemachine").iterdir()}
    for machine in machines.values():
        assert "${" not in str(machine)
        assert "arn:aws:lambda:us-east-1:123456789012:function:" in str(machine)


def test_a_state_machine_that_is_not_deployed_is_no_state_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(plain.ROOT / "statemachine", tmp_path / "statemachine")
    shutil.copy(plain.ROOT / "template.yaml", tmp_path)
    (tmp_path / "statemachine" / "forgotten.asl.yaml").write_text("StartAt: A")
    monkeypatch.setattr(plain, "ROOT", tmp_path)
    with pytest.raises(ValueError, match="forgotten"):
        plain.machines()


@pytest.mark.parametrize(
    ("complaint", "wrong"),
    [
        ("State Machine.States.Submit.Retry[0].BackoffRate is 2 but should be a Float", True),
        ("State Machine.States.Submit.Retry[0].BackoffRate is no but should be a Float", False),
        ('Field "Label" not allowed in State Machine.States.Rows', True),
        ('Field "InputType" not allowed in State Machine.States.Rows.ItemReader.ReaderConfig', True),
        ('Field "InputType" not allowed in State Machine.States.Rows', False),
        ('No state found named "Nowhere", referenced at State Machine.States.Wait.Next', False),
    ],
)
def test_which_complaints_are_dropped(complaint: str, wrong: bool) -> None:
    assert any(re.search(pattern, complaint) for pattern in asl.FALSE_FINDINGS) == wrong
