"""Test the drawing of a state machine: all of it is there, nothing overlaps, and the page's policy allows it."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest

from tools import graph

if TYPE_CHECKING:
    from collections.abc import Iterator

_SVG = "{http://www.w3.org/2000/svg}"
# A way to a good end, a loop in it, a detour that leads back, and an end that catches errors of all of them.
MACHINE: dict[str, Any] = {
    "StartAt": "Send",
    "States": {
        "Send": {"Type": "Task", "Next": "Wait", "to": ["Pause", "Give up"]},
        "Wait": {"Type": "Wait", "Next": "Done?"},
        "Done?": {"Type": "Choice", "Default": "Wait", "to": ["Fetch"]},
        "Fetch": {"Type": "Task", "End": True, "to": ["Give up"], "Comment": "Fetches <it> & ends"},
        "Pause": {"Type": "Task", "Next": "Longer?"},
        "Longer?": {"Type": "Choice", "Default": "Send", "to": ["Give up"]},
        "Give up": {"Type": "Fail"},
    },
}


def ways(state: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for target in [*state.get("to", []), state.get("Next"), state.get("Default")]:
        if target:
            yield target, "so"


@pytest.fixture(scope="module")
def drawn() -> ElementTree.Element:
    return ElementTree.fromstring(graph.svg(MACHINE, ways))  # noqa: S314 - our own text


def test_every_state_and_every_way_is_drawn(drawn: ElementTree.Element) -> None:
    groups = list(drawn.iter(f"{_SVG}g"))
    assert {group.get("id") for group in groups} - {None} == {f"state-{name}" for name in MACHINE["States"]}
    lines = {(group.get("data-from"), group.get("data-to")) for group in groups if group.get("class") == "way"}
    assert lines == {(name, to) for name, state in MACHINE["States"].items() for to, _ in ways(state)}


def test_no_state_covers_another_and_all_are_inside(drawn: ElementTree.Element) -> None:
    boxes = [
        tuple(float(rect.get(side, "")) for side in ("x", "y", "width", "height")) for rect in drawn.iter(f"{_SVG}rect")
    ]
    for (x, y, width, height), (other_x, other_y, _, _) in combinations(boxes, 2):
        assert abs(x - other_x) >= width or abs(y - other_y) >= height
    _, _, most_x, most_y = map(float, drawn.get("viewBox", "").split())
    assert all(0 <= x <= most_x - width and 0 <= y <= most_y - height for x, y, width, height in boxes)


def test_a_line_runs_along_the_axes_and_through_no_state(drawn: ElementTree.Element) -> None:
    boxes = [
        tuple(float(rect.get(side, "")) for side in ("x", "y", "width", "height")) for rect in drawn.iter(f"{_SVG}rect")
    ]
    for path in drawn.iter(f"{_SVG}path"):
        if path.get("class") == "head":
            continue
        # The corners themselves: a rounded one is written as the control point of a curve.
        found = re.findall(r"[ML]([\d.]+) ([\d.]+)|Q([\d.]+) ([\d.]+) [\d.]+ [\d.]+", path.get("d", ""))
        points = [(float(one[0] or one[2]), float(one[1] or one[3])) for one in found]
        for (from_x, from_y), (to_x, to_y) in pairwise(points):
            assert from_x == to_x or from_y == to_y
            for x, y, width, height in boxes:
                inside_x = (
                    max(min(from_x, to_x), x) < min(max(from_x, to_x), x + width) or x < from_x == to_x < x + width
                )
                inside_y = max(min(from_y, to_y), y) < min(max(from_y, to_y), y + height)
                inside_y = inside_y or y < from_y == to_y < y + height
                assert not (inside_x and inside_y), path.get("d")


def test_it_has_no_style_and_escapes_what_it_is_told(drawn: ElementTree.Element) -> None:
    assert not [element for element in drawn.iter() if element.get("style") or element.tag == f"{_SVG}style"]
    state = next(group for group in drawn.iter(f"{_SVG}g") if group.get("id") == "state-Fetch")
    title = state.find(f"{_SVG}title")
    assert title is not None
    assert title.text == "Fetches <it> & ends"
