"""The plots of a data card as plain shapes, which the page colours: the same figures give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rasa_ft.recipe.card.figures import Counts, Lengths, TestYield

# In units of the drawing; the page stretches it to the room there is.
WIDTH = 360.0
_HEIGHT = 120.0
_AXIS = 18.0
_LABEL = 14.0
_GAP = 1.5
_MOST_TICKS = 6
# Where tests with ten tenths go: into the last of ten columns.
_YIELD_BINS = 10


@dataclass(frozen=True)
class Bar:
    """A rectangle; ``kind`` decides its colour, ``title`` is shown when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Text:
    """``anchor`` is SVG's text-anchor."""

    x: float
    y: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Plot:
    """``label``: what a screen reader says."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    texts: tuple[Text, ...]
    label: str
    baseline: float | None = None


def histogram(lengths: Lengths) -> Plot:
    """Rows by length, validation on top of training."""
    stacks = [(one.counts, _between(one.start, lengths.width, lengths.unit)) for one in lengths.bins]
    label = f"{lengths.what} by length in {lengths.unit}, training and validation rows"
    places = [(index, f"{one.start}") for index, one in enumerate(lengths.bins)]
    return _columns(stacks, places, label)


def yields(tests: Sequence[TestYield]) -> Plot:
    """Tests by share of accepted rephrasings, in tenths."""
    counts = [Counts()] * _YIELD_BINS
    for test in tests:
        if test.share is not None:
            # Twentieths of a percent, since 0.7 * 10 is not quite 7.
            place = min(_YIELD_BINS - 1, int(round(test.share * 2000) * _YIELD_BINS / 2000))
            before = counts[place]
            trained = test.part == "training"
            counts[place] = Counts(before.train + trained, before.validation + (not trained))
    step = 100 // _YIELD_BINS
    stacks = [(one, f"{place * step} to {(place + 1) * step} %") for place, one in enumerate(counts)]
    places = [(place, f"{place * step} %") for place in range(0, _YIELD_BINS, 2)]
    return _columns(stacks, places, "Tests by share of wanted rephrasings that were accepted")


def shares(parts: Mapping[str, int], label: str) -> Plot:
    """One bar of all parts beside each other; kinds are their places: ``part0``, ``part1``, ..."""
    total = sum(parts.values())
    height = 22.0
    bars, x = [], 0.0
    for place, (name, count) in enumerate(parts.items()):
        width = WIDTH * count / total if total else 0.0
        if count:
            bars.append(Bar(x, 0, max(width - _GAP, 0.5), height, f"part{place}", f"{name}: {count}"))
        x += width
    return Plot(WIDTH, height, tuple(bars), (), label)


def _between(start: int, width: int, unit: str) -> str:
    return f"{start} {unit}" if width == 1 else f"{start} to {start + width - 1} {unit}"


def _columns(stacks: Sequence[tuple[Counts, str]], places: Sequence[tuple[int, str]], label: str) -> Plot:
    """Columns of two parts each; ``places`` are labels of columns, of which as many are written as there is room."""
    highest = max((one.train + one.validation for one, _ in stacks), default=0)
    step = WIDTH / max(1, len(stacks))
    scale = (_HEIGHT - _LABEL) / highest if highest else 0.0
    bars = []
    for place, (one, title) in enumerate(stacks):
        y = _HEIGHT
        for kind, count in (("train", one.train), ("validation", one.validation)):
            if count:
                # What there is stays visible beside columns a thousand times as high.
                height = max(1.0, count * scale)
                y -= height
                bars.append(Bar(place * step, y, step - _GAP, height, kind, f"{title}: {count} {_PARTS[kind]}"))
    every = -(-len(places) // _MOST_TICKS) or 1
    middle = (step - _GAP) / 2
    texts = [Text(place * step + middle, _HEIGHT + _AXIS - 4, text) for place, text in places[::every]]
    texts = [_inside(text) for text in texts]
    peak = max(range(len(stacks)), key=lambda place: stacks[place][0].train + stacks[place][0].validation, default=0)
    if highest:
        texts.append(_inside(Text(peak * step + middle, _LABEL - 4, f"{highest}")))
    return Plot(WIDTH, _HEIGHT + _AXIS, tuple(bars), tuple(texts), label, _HEIGHT)


_PARTS = {"train": "in training", "validation": "in validation"}


def _inside(text: Text) -> Text:
    """At an edge of the drawing a text grows inwards."""
    half = 3.2 * len(text.text)
    if text.x < half:
        return Text(0.0, text.y, text.text, "start")
    if text.x > WIDTH - half:
        return Text(WIDTH, text.y, text.text, "end")
    return text
