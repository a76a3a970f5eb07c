"""Read a definition in the Amazon States Language and find mistakes beyond its grammar."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class InvalidDefinition(ValueError):
    """The text is not a state machine; the message lists the mistakes and their places."""


def load(text: str, substitutions: Mapping[str, str] | None = None) -> str:
    """Read a definition in JSON or YAML and return it as JSON.

    Like CloudFormation's `DefinitionSubstitutions`, `${Name}` is replaced before parsing, so that an unquoted
    placeholder can become a number.

    Raises:
        InvalidDefinition: The text is neither JSON nor YAML, or has no states.
    """
    for name, value in (substitutions or {}).items():
        text = text.replace(f"${{{name}}}", value)
    try:
        document = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise InvalidDefinition(f"neither JSON nor YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("States"), dict):
        raise InvalidDefinition("a state machine needs an object `States`")
    return json.dumps(document)


def check_targets(machine: Mapping[str, Any]) -> None:
    """Check that every transition leads to a state, and every state can be reached.

    Raises:
        InvalidDefinition: Targets are missing or states are never reached; the text lists them.
    """
    mistakes = list(_mistakes(machine, ""))
    if mistakes:
        raise InvalidDefinition("; ".join(mistakes))


def _mistakes(machine: Mapping[str, Any], path: str) -> Iterator[str]:
    states: Mapping[str, Any] = machine["States"]
    start = machine.get("StartAt")
    if start not in states:
        yield f"{path}/StartAt names the missing state '{start}'"
    for name, state in states.items():
        here = f"{path}/States/{name}"
        yield from (f"{here} names the missing state '{target}'" for target in _targets(state) if target not in states)
        for nested, where in machines_in(state):
            yield from _mistakes(nested, f"{here}/{where}")
    yield from (f"{path}/States/{name} cannot be reached" for name in sorted(states.keys() - _reachable(states, start)))


def _targets(state: Mapping[str, Any]) -> set[str]:
    branches = [state, *state.get("Catch", []), *state.get("Choices", [])]
    targets = {branch.get("Next") for branch in branches} | {state.get("Default")}
    return {target for target in targets if target is not None}


def machines_in(state: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the machines inside a Parallel or Map state, each with its path in the state."""
    yield from ((branch, f"Branches/{index}") for index, branch in enumerate(state.get("Branches", [])))
    yield from ((state[field], field) for field in ("ItemProcessor", "Iterator") if field in state)


def _reachable(states: Mapping[str, Any], start: Any) -> set[str]:
    reached: set[str] = set()
    todo = {name for name in states if name == start}
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= (_targets(states[name]) & states.keys()) - reached
    return reached
