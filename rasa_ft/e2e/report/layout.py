"""Layered drawing of a small directed graph, top to bottom.

The steps of Sugiyama's method: turn the edges that close a circle round, give every box the layer of its longest path,
put bends on the layers that an edge passes, order each layer by the mean place of the neighbours, then choose places
that are as near to the neighbours as the widths allow. A label is a box of its own on its edge, so nothing overlaps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

GAP_X = 18.0
GAP_Y = 20.0
_BEND_WIDTH = 6.0
_SWEEPS = 6

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A size in pixels."""

    width: float
    height: float


@dataclass(frozen=True)
class Edge:
    """From one box to another, by index; not from a box to itself."""

    source: int
    target: int
    label: Box | None = None


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes and labels; ``routes``: for each edge the points that it runs through, from its source.

    A route has an even number of points: curves between them and, from every second to the next one, a vertical line
    through a layer. All is within ``width`` and ``height``.
    """

    boxes: tuple[Point, ...]
    labels: tuple[Point | None, ...]
    routes: tuple[tuple[Point, ...], ...]
    width: float
    height: float


@dataclass
class _Item:
    """What takes room on a layer: a box, a label or a bend."""

    box: Box
    layer: int
    x: float = 0.0
    y: float = 0.0


def lay_out(boxes: Sequence[Box], edges: Sequence[Edge]) -> Layout:
    """Where everything goes; the first box is the root. The same graph gives the same drawing."""
    turned = _turned(len(boxes), edges)
    layers_of = _layers(len(boxes), edges, turned)
    items = [_Item(box, layer) for box, layer in zip(boxes, layers_of, strict=True)]
    chains, labels = _chains(items, edges, turned)
    above, below = _neighbours(len(items), chains)
    layers: list[list[int]] = [[] for _ in range(max((item.layer for item in items), default=-1) + 1)]
    for index, item in enumerate(items):
        layers[item.layer].append(index)
    _order(layers, above, below)
    _place_across(items, layers, above, below)
    height, heights = _place_down(items, layers)
    routes = [_route([items[index] for index in chain], heights) for chain in chains]
    return Layout(
        boxes=tuple((item.x, item.y) for item in items[: len(boxes)]),
        labels=tuple(None if label is None else (items[label].x, items[label].y) for label in labels),
        routes=tuple(route[::-1] if back else route for route, back in zip(routes, turned, strict=True)),
        width=max((item.x + item.box.width / 2 for item in items), default=0.0),
        height=height,
    )


def _turned(size: int, edges: Sequence[Edge]) -> list[bool]:
    """For each edge whether it leads back to where a walk from the root came from."""
    leaving: list[list[int]] = [[] for _ in range(size)]
    for index, edge in enumerate(edges):
        leaving[edge.source].append(index)
    turned = [False] * len(edges)
    state = [0] * size  # 1: on the way, 2: done
    for root in range(size):
        if state[root]:
            continue
        state[root] = 1
        way = [(root, iter(leaving[root]))]
        while way:
            node, ahead = way[-1]
            for index in ahead:
                target = edges[index].target
                turned[index] = state[target] == 1
                if not state[target]:
                    state[target] = 1
                    way.append((target, iter(leaving[target])))
                    break
            else:
                state[node] = 2
                way.pop()
    return turned


def _layers(size: int, edges: Sequence[Edge], turned: Sequence[bool]) -> list[int]:
    """Length of the longest way to each box; an edge with a label is as long as two."""
    down = [(e.target, e.source, e) if back else (e.source, e.target, e) for e, back in zip(edges, turned, strict=True)]
    waiting = [0] * size
    leaving: list[list[tuple[int, int]]] = [[] for _ in range(size)]
    for upper, lower, edge in down:
        waiting[lower] += 1
        leaving[upper].append((lower, 2 if edge.label else 1))
    layers = [0] * size
    ready = [node for node in range(size) if not waiting[node]]
    while ready:
        node = ready.pop()
        for lower, length in leaving[node]:
            layers[lower] = max(layers[lower], layers[node] + length)
            waiting[lower] -= 1
            if not waiting[lower]:
                ready.append(lower)
    return layers


def _chains(
    items: list[_Item], edges: Sequence[Edge], turned: Sequence[bool]
) -> tuple[list[list[int]], list[int | None]]:
    """Adds bends and labels to ``items``; for each edge its items from the upper box to the lower, and its label."""
    chains: list[list[int]] = []
    labels: list[int | None] = []
    for edge, back in zip(edges, turned, strict=True):
        upper, lower = (edge.target, edge.source) if back else (edge.source, edge.target)
        passed = range(items[upper].layer + 1, items[lower].layer)
        beside_source = (passed[-1] if back else passed[0]) if passed else None
        chain, label = [upper], None
        for layer in passed:
            box = Box(_BEND_WIDTH, 0.0)
            if edge.label is not None and layer == beside_source:
                box, label = edge.label, len(items)
            chain.append(len(items))
            items.append(_Item(box, layer))
        chains.append([*chain, lower])
        labels.append(label)
    return chains, labels


def _neighbours(size: int, chains: Iterable[Sequence[int]]) -> tuple[list[list[int]], list[list[int]]]:
    above: list[list[int]] = [[] for _ in range(size)]
    below: list[list[int]] = [[] for _ in range(size)]
    for chain in chains:
        for upper, lower in pairwise(chain):
            above[lower].append(upper)
            below[upper].append(lower)
    return above, below


def _order(layers: list[list[int]], above: Sequence[list[int]], below: Sequence[list[int]]) -> None:
    """Sorts every layer by where its neighbours stand, down and up in turns."""
    rank = {index: float(place) for layer in layers for place, index in enumerate(layer)}
    for sweep in range(_SWEEPS):
        neighbours = below if sweep % 2 else above
        for layer in layers[::-1] if sweep % 2 else layers:
            means = {index: _mean([rank[n] for n in neighbours[index]], rank[index]) for index in layer}
            layer.sort(key=means.__getitem__)
            rank.update((index, float(place)) for place, index in enumerate(layer))


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _place_across(
    items: Sequence[_Item], layers: Sequence[Sequence[int]], above: Sequence[list[int]], below: Sequence[list[int]]
) -> None:
    for sweep in range(_SWEEPS + 1):
        neighbours = below if sweep % 2 else above
        for layer in layers[::-1] if sweep % 2 else layers:
            wanted = [_mean([items[n].x for n in neighbours[index]], items[index].x) for index in layer]
            for index, x in zip(layer, spread(wanted, [items[index].box.width for index in layer]), strict=True):
                items[index].x = x
    left = min((item.x - item.box.width / 2 for item in items), default=0.0)
    for item in items:
        item.x -= left


def spread(wanted: Sequence[float], widths: Sequence[float]) -> list[float]:
    """The centres nearest to ``wanted`` (least squares) that keep the order and leave a gap between neighbours.

    Pool adjacent violators, after the room that each one needs is taken off.
    """
    offsets: list[float] = []
    for index, width in enumerate(widths):
        offsets.append(offsets[-1] + (widths[index - 1] + width) / 2 + GAP_X if offsets else 0.0)
    blocks: list[tuple[float, int]] = []  # sum of places, how many
    for place, offset in zip(wanted, offsets, strict=True):
        total, count = place - offset, 1
        while blocks and blocks[-1][0] / blocks[-1][1] >= total / count:
            more, members = blocks.pop()
            total, count = total + more, count + members
        blocks.append((total, count))
    places = [total / count for total, count in blocks for _ in range(count)]
    return [place + offset for place, offset in zip(places, offsets, strict=True)]


def _place_down(items: Sequence[_Item], layers: Sequence[Sequence[int]]) -> tuple[float, list[float]]:
    """Height of all, and of each layer."""
    top, heights = 0.0, []
    for layer in layers:
        heights.append(max(items[index].box.height for index in layer))
        for index in layer:
            items[index].y = top + heights[-1] / 2
        top += heights[-1] + GAP_Y
    return max(0.0, top - GAP_Y), heights


def _route(chain: Sequence[_Item], heights: Sequence[float]) -> tuple[Point, ...]:
    points: list[Point] = [(chain[0].x, chain[0].y + chain[0].box.height / 2)]
    for item in chain[1:-1]:
        half = heights[item.layer] / 2
        points += [(item.x, item.y - half), (item.x, item.y + half)]
    return (*points, (chain[-1].x, chain[-1].y - chain[-1].box.height / 2))
