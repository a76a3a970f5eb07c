"""Draw a state machine as SVG, for the console: `ops/console/static/graph.svg`.

The picture has three lanes. The middle one is the shortest way to the end, from top to bottom. On the left is what
leads back to it, from bottom to top. On the right is what ends without it. Ways between lanes run through channels:
those to one target share a line. It carries no colours and no styles, because the page's policy forbids them in a
document: the page styles its classes. Must not know which state machine it draws.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LEFT, _MIDDLE, _RIGHT = range(3)
_WIDTH, _HEIGHT, _ROW, _CHANNEL, _MARGIN = 124, 34, 62, 46, 6
_PORT = 7  # arrivals are so far above the middle of a side, departures so far below
_RADIUS, _HEAD = 6, 4

Way = tuple[str, str, str]
"""From which state to which, and when."""
_Point = tuple[float, float]
_Bus = tuple[int, str, str]
"""A vertical line: its channel, its kind, and the state that it leads from or to."""
_ORDER = ("across", "from", "loop", "to")


@dataclass(frozen=True, slots=True)
class _Place:
    lane: int
    row: int

    @property
    def left(self) -> float:
        return _MARGIN + self.lane * (_WIDTH + _CHANNEL)

    @property
    def middle(self) -> float:
        return _MARGIN + _HEIGHT / 2 + self.row * _ROW

    def side(self, of: _Place) -> float:
        """The side that faces another place; of one in the same lane, the right side, or on the left the inner one."""
        return self.left + _WIDTH if of.lane > self.lane or (of.lane == self.lane != _RIGHT) else self.left


def svg(machine: dict[str, Any], ways: Callable[[dict[str, Any]], Iterable[tuple[str, str]]]) -> str:
    """Draw a definition in the Amazon States Language.

    Args:
        ways: The targets of a state, each with the condition in words.
    """
    states: dict[str, dict[str, Any]] = machine["States"]
    lines = [(name, target, when) for name, state in states.items() for target, when in ways(state)]
    places = _places(machine["StartAt"], states, lines)
    width = _MARGIN * 2 + _WIDTH * 3 + _CHANNEL * 2
    height = _MARGIN * 2 + _HEIGHT + _ROW * max(place.row for place in places.values())
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" fill="none" stroke="currentColor">',
        *(f"  {_way(way, points)}" for way, points in _routes(lines, places)),
        *(f"  {_state(name, states[name], place)}" for name, place in places.items()),
        "</svg>",
    ]
    return "\n".join([*drawn, ""])


# ---- where each state is ---------------------------------------------------------------------------------------------


def _places(start: str, states: dict[str, dict[str, Any]], lines: Sequence[Way]) -> dict[str, _Place]:
    targets: dict[str, dict[str, None]] = {name: {} for name in states}
    for name, target, _ in lines:
        targets[name][target] = None
    main = _shortest(start, states, targets)
    others = [name for name in states if name not in main]
    back = [name for name in others if not _reachable(name, targets).isdisjoint(main)]
    ends = [name for name in others if name not in back]
    places = {name: _Place(_MIDDLE, row) for row, name in enumerate(main)}
    last = len(main) - 1
    # What leads back begins beside the last state that enters it.
    lowest = max((main.index(name) for name, target, _ in lines if name in main and target in back), default=last)
    lowest = max(lowest, len(back) - 1)
    places |= {name: _Place(_LEFT, lowest - number) for number, name in enumerate(back)}
    first = max(0, len(main) - len(ends))
    return places | {name: _Place(_RIGHT, first + number) for number, name in enumerate(ends)}


def _shortest(start: str, states: dict[str, dict[str, Any]], targets: dict[str, dict[str, None]]) -> list[str]:
    """The states on the shortest way to a good end. What only catches errors leads to none sooner."""
    ways = deque([[start]])
    while True:
        way = ways.popleft()
        state = states[way[-1]]
        if state.get("End") or state["Type"] == "Succeed":
            return way
        ways.extend([*way, target] for target in targets[way[-1]] if target not in way)


def _reachable(name: str, targets: dict[str, dict[str, None]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        new = [target for target in targets[left.pop()] if target not in found]
        found.update(new)
        left += new
    return found


# ---- how the lines run -----------------------------------------------------------------------------------------------


def _routes(lines: Sequence[Way], places: dict[str, _Place]) -> Iterator[tuple[Way, list[_Point]]]:
    buses = {way: _buses(way, places[way[0]], places[way[1]]) for way in lines}
    tracks = _tracks({bus for found in buses.values() for bus in found})
    for way in lines:
        begin, end = places[way[0]], places[way[1]]
        if not buses[way]:
            middle, half = begin.left + _WIDTH / 2, _HEIGHT / 2 * (1 if end.row > begin.row else -1)
            yield way, [(middle, begin.middle + half), (middle, end.middle - half)]
            continue
        out, into = begin.middle + _PORT, end.middle - _PORT
        first, *rest = (tracks[bus] for bus in buses[way])
        # From one side to the other: across the middle lane, between two of its rows.
        across = [(x, begin.middle + _ROW / 2) for x in (first, *rest)] if rest else []
        last = rest[-1] if rest else first
        yield way, [(begin.side(end), out), (first, out), *across, (last, into), (end.side(begin), into)]


def _buses(way: Way, begin: _Place, end: _Place) -> tuple[_Bus, ...]:
    """The vertical lines that a way uses; none where its states are neighbours, one above the other.

    What leads back leaves by a line of its own; what is entered from several states, by a common one.
    """
    if begin.lane == end.lane:
        onward = -1 if begin.lane == _LEFT else 1
        return () if end.row - begin.row == onward else ((min(begin.lane, _MIDDLE), "loop", way[1]),)
    if abs(begin.lane - end.lane) == 1:
        ends = ("from", way[0]) if begin.lane == _LEFT else ("to", way[1])
        return ((min(begin.lane, end.lane), *ends),)
    near, far = (_LEFT, _MIDDLE) if begin.lane == _LEFT else (_MIDDLE, _LEFT)
    return (near, "across", way[0]), (far, "to", way[1])


def _tracks(buses: set[_Bus]) -> dict[_Bus, float]:
    """Where each line is in its channel, in an order that lets few of them cross."""
    tracks: dict[_Bus, float] = {}
    for channel in (_LEFT, _MIDDLE):
        left = _MARGIN + (channel + 1) * _WIDTH + channel * _CHANNEL
        here = sorted((bus for bus in buses if bus[0] == channel), key=lambda bus: (_ORDER.index(bus[1]), bus[2]))
        tracks |= {bus: left + _CHANNEL * number / (len(here) + 1) for number, bus in enumerate(here, 1)}
    return tracks


# ---- how it is written -----------------------------------------------------------------------------------------------


def _way(way: Way, points: list[_Point]) -> str:
    begin, end, when = way
    title = f"<title>{escape(f'{begin} to {end}' + (f': {when}' if when else ''))}</title>"
    return (
        f'<g class="way" data-from={quoteattr(begin)} data-to={quoteattr(end)}>{title}'
        f'<path d="{_line(points)}"/><path class="head" d="{_head(points)}"/></g>'
    )


def _line(points: list[_Point]) -> str:
    parts = [f"M{_xy(points[0])}"]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        parts.append(f"L{_xy(_toward(corner, before))}Q{_xy(corner)} {_xy(_toward(corner, after))}")
    return "".join([*parts, f"L{_xy(points[-1])}"])


def _toward(corner: _Point, other: _Point) -> _Point:
    """The point where the rounding of a corner begins or ends."""
    (x, y), (to_x, to_y) = corner, other
    far = abs(to_x - x) + abs(to_y - y)
    share = min(_RADIUS, far / 2) / far if far else 0
    return x + (to_x - x) * share, y + (to_y - y) * share


def _head(points: list[_Point]) -> str:
    (from_x, from_y), (x, y) = next(pair for pair in reversed([*pairwise(points)]) if pair[0] != pair[1])
    along_x, along_y = (x > from_x) - (x < from_x), (y > from_y) - (y < from_y)
    back = x - along_x * _HEAD * 1.75, y - along_y * _HEAD * 1.75
    one = back[0] - along_y * _HEAD, back[1] - along_x * _HEAD
    two = back[0] + along_y * _HEAD, back[1] + along_x * _HEAD
    return f"M{_xy((x, y))}L{_xy(one)}L{_xy(two)}Z"


def _state(name: str, state: dict[str, Any], place: _Place) -> str:
    kind = state["Type"].lower()
    # A state may have any text as its name; as an id it is only looked for, never written into a selector.
    title = f"<title>{escape(state.get('Comment', name))}</title>"
    x, y = place.left, place.middle - _HEIGHT / 2
    radius = {"wait": _HEIGHT / 2, "choice": _HEIGHT / 2, "pass": _HEIGHT / 2}.get(kind, 7)
    box = f'<rect x="{x:g}" y="{y:g}" width="{_WIDTH}" height="{_HEIGHT}" rx="{radius:g}"/>'
    label = f'<text x="{x + _WIDTH / 2:g}" y="{place.middle + 4.5:g}" text-anchor="middle">{escape(name)}</text>'
    return f'<g class="state {kind}" id={quoteattr(f"state-{name}")}>{title}{box}{label}</g>'


def _xy(point: _Point) -> str:
    return f"{round(point[0], 1):g} {round(point[1], 1):g}"
