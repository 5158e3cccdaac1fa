"""A flow as a drawing: every step once, its branches with their conditions, and where the flow ends."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from rasa_ft.calm.flows.model import END, ActionStep, CallStep, CollectStep, Flow, LinkStep, SetSlotsStep, Step
from rasa_ft.e2e.report.layout import Box, Edge, Point, lay_out

# A larger drawing helps nobody; its steps are still listed.
MOST_STEPS = 150
_NAME_CHARS = 28
_CONDITION_CHARS = 34
_TITLE_CHARS = 400
_STEP_HEIGHT = 40.0
_END = Box(34.0, 18.0)
_MARGIN = 6.0


@dataclass(frozen=True)
class Shape:
    """A rectangle by its upper left corner, with its text; ``title`` is the whole text where ``text`` is cut."""

    x: float
    y: float
    width: float
    height: float
    text: str
    title: str = ""

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Arrow:
    """``path`` is SVG path data; ``back``: it leads to an earlier step."""

    path: str
    back: bool = False


@dataclass(frozen=True)
class Drawing:
    """``steps`` in the order of the flow, sizes in pixels."""

    width: float
    height: float
    steps: tuple[Shape, ...]
    ends: tuple[Shape, ...]
    conditions: tuple[Shape, ...]
    arrows: tuple[Arrow, ...]


def kind_of(step: Step) -> str:
    """What the step does, in a word or two."""
    match step:
        case CollectStep():
            return "collect"
        case ActionStep():
            return "action"
        case CallStep():
            return "call"
        case LinkStep():
            return "link"
        case SetSlotsStep():
            return "set slots"
        case _:
            return "branch"


def subject_of(step: Step) -> str:
    """What it does it to: a slot, an action, a flow; the id of a step that only branches."""
    match step:
        case CollectStep(slot=slot):
            return slot
        case ActionStep(action=action):
            return action
        case CallStep(flow=flow) | LinkStep(flow=flow):
            return flow
        case SetSlotsStep(assignments=assignments):
            return ", ".join(slot for slot, _ in assignments)
        case _:
            return step.id


def draw(flow: Flow) -> Drawing | None:
    """The drawing, or None if the flow has more than `MOST_STEPS` steps or none."""
    if not flow.steps or len(flow.steps) > MOST_STEPS:
        return None
    boxes = [Box(_width(kind_of(step), subject_of(step)), _STEP_HEIGHT) for step in flow.steps]
    places = {step.id: place for place, step in reversed(list(enumerate(flow.steps)))}
    edges, conditions, loops = [], [], []
    for source, step in enumerate(flow.steps):
        for branch in step.next:
            condition = _condition(branch.condition, len(step.next))
            target = places.get(branch.target) if branch.target != END else None
            if target == source:
                loops.append((source, condition))
                continue
            if target is None:
                target = len(boxes)
                boxes.append(_END)
            label = Box(_text_width(shortened(condition, _CONDITION_CHARS), 5.9) + 10, 18.0) if condition else None
            edges.append(Edge(source, target, label))
            conditions.append(condition)
    return _drawing(flow, boxes, edges, conditions, loops)


def _drawing(
    flow: Flow, boxes: list[Box], edges: list[Edge], conditions: list[str], loops: list[tuple[int, str]]
) -> Drawing:
    layout = lay_out(boxes, edges)
    count = len(flow.steps)
    shapes = [_shape(center, box, "") for center, box in zip(layout.boxes, boxes, strict=True)]
    labels = [
        _shape(center, edge.label, shortened(text, _CONDITION_CHARS), shortened(text, _TITLE_CHARS))
        for center, edge, text in zip(layout.labels, edges, conditions, strict=True)
        if center is not None and edge.label is not None
    ]
    arrows = [Arrow(_path(route), route[0][1] > route[-1][1]) for route in layout.routes]
    return Drawing(
        width=layout.width + 2 * _MARGIN + (26 if loops else 0),
        height=layout.height + 2 * _MARGIN,
        steps=tuple(
            _named(shape, shortened(subject_of(step), _NAME_CHARS))
            for shape, step in zip(shapes[:count], flow.steps, strict=True)
        ),
        ends=tuple(_named(shape, "end") for shape in shapes[count:]),
        conditions=tuple(labels),
        arrows=(*arrows, *(_loop(shapes[place]) for place, _ in loops)),
    )


def _condition(condition: str | None, branches: int) -> str:
    if condition is not None:
        return " ".join(condition.split())
    return "else" if branches > 1 else ""


def shortened(text: str, most: int) -> str:
    """``text`` of at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _width(kind: str, subject: str) -> float:
    return max(96.0, _text_width(shortened(subject, _NAME_CHARS), 7.0) + 24, _text_width(kind, 6.5) + 44)


def _text_width(text: str, per_char: float) -> float:
    """Without a browser at hand: what is wide enough for most fonts; wide scripts count double."""
    return per_char * sum(2 if ord(char) >= 0x1100 else 1 for char in text)


def _shape(center: Point, box: Box, text: str, title: str = "") -> Shape:
    x, y = center
    return Shape(x - box.width / 2 + _MARGIN, y - box.height / 2 + _MARGIN, box.width, box.height, text, title)


def _named(shape: Shape, text: str) -> Shape:
    return Shape(shape.x, shape.y, shape.width, shape.height, text)


def _path(route: tuple[Point, ...]) -> str:
    points = [(x + _MARGIN, y + _MARGIN) for x, y in route]
    parts = [f"M{_number(points[0][0])} {_number(points[0][1])}"]
    for place, ((x0, y0), (x1, y1)) in enumerate(pairwise(points)):
        middle = (y0 + y1) / 2
        if place % 2 or x0 == x1:
            parts.append(f"L{_number(x1)} {_number(y1)}")
        else:
            numbers = (x0, middle, x1, middle, x1, y1)
            parts.append(f"C{' '.join(map(_number, numbers))}")
    return "".join(parts)


def _loop(shape: Shape) -> Arrow:
    right, y = shape.x + shape.width, shape.y + shape.height / 2
    numbers = (right + 24, y - 22, right + 24, y + 22, right, y + 8)
    return Arrow(f"M{_number(right)} {_number(y - 8)}C{' '.join(map(_number, numbers))}", back=True)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
