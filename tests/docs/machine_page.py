"""Generator of the machine of invitations on the page of an admin, laid out by Graphviz."""

import subprocess
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import hypot
from pathlib import Path
from typing import NamedTuple

from portal.page import FOLDER
from states.invitation import InvitationMachine
from states.lifecycle import transitions

MACHINE_PAGE = FOLDER / "template" / "admin" / "machine.html"

Point = tuple[int, int]

_ARROW = 6
"""The length of an arrow's head in pixels."""

_PAGE = """\
{{# Generated from states/invitation.py by `make diagrams`. #}}
{pictures}
"""

_PICTURE = """\
<svg class="machine {name}" viewBox="{view}" aria-hidden="true" focusable="false">
{parts}
</svg>"""


def edges() -> list[tuple[str, str]]:
    """Return the transitions that lead to another state."""
    pairs = ((origin, target) for (origin, _), target in transitions(InvitationMachine).items())
    return [(origin, target) for origin, target in dict.fromkeys(pairs) if origin != target]


def states() -> list[str]:
    """Return the states, in the order of their declaration."""
    return [str(state.value.value) for state in InvitationMachine.states]


def ends() -> list[str]:
    """Return the ends that are reached before an acceptance; the last state is the goal."""
    final = [str(state.value.value) for state in InvitationMachine.states if state.final]
    return [state for state in final if state != "completed"]


def drawn_page() -> str:
    """Return the template: one drawing for a wide window, and one for a phone."""
    pictures = [
        _picture("broad", direction="LR", width=128, height=40, apart=0.2, ranks=0.42),
        _picture("narrow", direction="TB", width=112, height=36, apart=0.12, ranks=0.3),
    ]
    return _PAGE.format(pictures="\n".join(pictures))


def _picture(
    name: str, *, direction: str, width: int, height: int, apart: float, ranks: float
) -> str:
    """Return the machine as SVG whose states and transitions have names."""

    def laid_out(lines: str) -> Layout:
        graph = [
            f"rankdir={direction}; nodesep={apart}; ranksep={ranks}; splines={lines}",
            f'node [shape=box fixedsize=true width={width / 72} height={height / 72} label=""]',
            "edge [arrowhead=none]",
            *_statements(),
        ]
        return _laid_out("\n".join(graph))

    curved, straight = laid_out("true"), laid_out("line")
    # Curves lead around states. The ways to an end are many: straight, one of them is drawn.
    lines = {edge: (straight if edge[1] in ends() else curved).lines[edge] for edge in edges()}
    parts = [
        *(_line(edge, points) for edge, points in lines.items()),
        *(_node(state, curved.nodes[state], width, height) for state in states()),
    ]
    view = _view(curved.nodes, lines, width)
    return _PICTURE.format(name=name, view=view, parts="\n".join(parts))


class Layout(NamedTuple):
    """The centers of states and the points of lines."""

    nodes: dict[str, Point]
    lines: dict[tuple[str, str], list[Point]]


def _laid_out(graph: str) -> Layout:
    plain = subprocess.run(
        ["dot", "-Tplain"], input=f"digraph {{{graph}}}", text=True, capture_output=True, check=True
    ).stdout
    nodes: dict[str, Point] = {}
    lines: dict[tuple[str, str], list[Point]] = {}
    bottom = 0.0
    for words in (line.split() for line in plain.splitlines()):
        match words:
            case ["graph", _, _, tall]:
                bottom = float(tall)
            case ["node", state, x, y, *_]:
                nodes[state] = _pixels(x, y, bottom)
            case ["edge", origin, target, count, *numbers]:
                points = numbers[: 2 * int(count)]
                lines[origin, target] = [
                    _pixels(x, y, bottom) for x, y in zip(points[::2], points[1::2], strict=True)
                ]
    return Layout(nodes, lines)


def _statements() -> Iterator[str]:
    listed = edges()
    for state in states():
        yield f'"{state}"'
    for origin, target in listed:
        if (target, origin) in listed:
            yield f'{{rank=same; "{origin}"; "{target}"}}'
        if target in ends() or (target, origin) in listed:
            yield f'"{origin}" -> "{target}" [weight=0 constraint=false]'
        else:
            yield f'"{origin}" -> "{target}" [weight={1 if _is_shortcut(origin, target) else 8}]'
    # The ends form a line of their own, one at each rank.
    for above, below in pairwise(ends()):
        yield f'"{above}" -> "{below}" [style=invis weight=9]'
    yield f'"{states()[0]}" -> "{ends()[0]}" [style=invis weight=0]'


def _is_shortcut(origin: str, target: str) -> bool:
    """Return whether another path leads from `origin` to `target`."""
    between = [to for at, to in edges() if at == origin and to != target and to not in ends()]
    return any((each, target) in edges() for each in between)


def _pixels(x: str, y: str, bottom: float) -> Point:
    return round(float(x) * 72), round((bottom - float(y)) * 72)


def _view(nodes: dict[str, Point], lines: dict[tuple[str, str], list[Point]], width: int) -> str:
    points = [point for line in lines.values() for point in line] + list(nodes.values())
    left = min([x for x, _ in points] + [x - width // 2 for x, _ in nodes.values()]) - 3
    right = max([x for x, _ in points] + [x + width // 2 for x, _ in nodes.values()]) + 3
    top, below = min(y for _, y in points) - 26, max(y for _, y in points) + 26
    return f"{left} {top} {right - left} {below - top}"


def _line(edge: tuple[str, str], points: Sequence[Point]) -> str:
    origin, target = edge
    first, *others = points
    curve = " ".join(f"{x},{y}" for x, y in others)
    (x, y), (from_x, from_y) = points[-1], points[-2]
    length = hypot(x - from_x, y - from_y) or 1
    step_x, step_y = (x - from_x) / length * _ARROW, (y - from_y) / length * _ARROW
    sides = [
        (x - step_x - step_y / 2, y - step_y + step_x / 2),
        (x - step_x + step_y / 2, y - step_y - step_x / 2),
    ]
    head = " ".join(f"L{round(side_x)},{round(side_y)}" for side_x, side_y in sides)
    kind = " end" if target in ends() else ""
    mark = f'{{{{ " " ~ lines["{origin}-{target}"] if "{origin}-{target}" in lines }}}}'
    return (
        f'<g class="line{kind}{mark}" data-line="{origin}-{target}">'
        f'<path d="M{first[0]},{first[1]} C{curve}"/>'
        f'<path class="head" d="M{x},{y} {head} Z"/></g>'
    )


def _node(state: str, center: Point, width: int, height: int) -> str:
    x, y = center
    kind = " end" if state in ends() else ""
    mark = f'{{{{ " " ~ marks["{state}"] if "{state}" in marks }}}}'
    return (
        f'<g class="node{kind}{mark}" data-node="{state}">'
        f'<rect x="{x - width // 2}" y="{y - height // 2}" '
        f'width="{width}" height="{height}" rx="8"/>'
        f'<text x="{x}" y="{y}">{{{{ words.label("{state}", {x}) }}}}</text></g>'
    )


def write(path: Path = MACHINE_PAGE) -> None:
    """Write the template."""
    path.write_text(drawn_page(), encoding="utf-8")
