"""A block of the work cell's timeline: what happens in it, drawn from (seed, block number)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PHASES: tuple[str, ...] = ("idle", "reach", "grasp", "move", "place", "inspect")
"""Exactly one holds at any time."""
ACTIONS: tuple[str, ...] = ("carrying", "lamp_on", "person_passing")
"""Any number of them hold, whatever the phase: an item is held, the lamp is lit, one walks by."""

BLOCK_SECONDS = 120.0
# A block's durations are stretched to fill it: these are before that (a few per cent) and before
# the seed's own speed.
DURATIONS: dict[str, tuple[float, float]] = {
    "idle": (1.5, 5.0),
    "reach": (0.8, 2.0),
    "grasp": (0.5, 1.2),
    "move": (1.0, 2.5),
    "place": (0.6, 1.5),
    "inspect": (1.0, 3.0),
}
ABORT_PROBABILITY = 0.12
SKIP_INSPECT_PROBABILITY = 0.25
NUM_ITEM_COLOURS = 6
WALK_MARGIN = 0.15
GRIP_AT = 0.6
"""Part of `grasp` after which the item is held."""
RELEASE_AT = 0.6
"""Part of `place` after which it is not."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, half open: `start_seconds` is in it, `end_seconds` is not."""

    start_seconds: float
    end_seconds: float

    def holds(self, seconds: float) -> bool:
        """Whether that time is in it."""
        return self.start_seconds <= seconds < self.end_seconds

    def progress(self, seconds: float) -> float:
        """0 at its start, 1 at its end, limited to that."""
        part = (seconds - self.start_seconds) / (self.end_seconds - self.start_seconds)
        return min(1.0, max(0.0, part))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycle:
    """From one idle to the next.

    Attributes:
        phases: The phases in order, each beginning where the one before ends.
        item: Which colour the item has, below `NUM_ITEM_COLOURS`.
        aborted: The item slipped, and the cycle ends with `grasp`.
        wobble: Standard normal (4,): how this cycle's poses differ from the layout's.
    """

    phases: dict[str, Span]
    item: int
    aborted: bool
    wobble: tuple[float, float, float, float]

    def phase_at(self, seconds: float) -> str:
        """The phase at a time within the cycle."""
        return next(name for name, span in self.phases.items() if seconds < span.end_seconds)

    @property
    def carrying(self) -> Span | None:
        """When the item is held; None if it slipped."""
        if self.aborted:
            return None
        grasp, place = self.phases["grasp"], self.phases["place"]
        return Span(
            grasp.start_seconds + GRIP_AT * (grasp.end_seconds - grasp.start_seconds),
            place.start_seconds + RELEASE_AT * (place.end_seconds - place.start_seconds),
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """Somebody walks through the picture.

    Attributes:
        span: From the moment half of them is in the picture until half of them is out. They can be
            seen for `WALK_MARGIN` of its length before and after.
        rightwards: Direction in the scene; a mirrored camera sees the other.
        look: Uniform 0–1 (4,): size and colours.
    """

    span: Span
    rightwards: bool
    look: tuple[float, float, float, float]

    def in_sight(self, seconds: float) -> bool:
        """Whether any of them is in the picture."""
        return -WALK_MARGIN <= self.part(seconds) <= 1 + WALK_MARGIN

    def part(self, seconds: float) -> float:
        """How far they have come: 0 at one edge of the picture, 1 at the other."""
        span = self.span
        return (seconds - span.start_seconds) / (span.end_seconds - span.start_seconds)


@dataclass(frozen=True, slots=True)
class Block:
    """All that happens in `BLOCK_SECONDS`."""

    cycles: tuple[Cycle, ...]
    lamp: tuple[Span, ...]
    walks: tuple[Walk, ...]


def make_block(seed: int, *, number: int) -> Block:
    """The block that begins at `number * BLOCK_SECONDS`."""
    rng = np.random.default_rng([seed, 1, number])
    start = number * BLOCK_SECONDS
    lamp = _spans(rng, start=start, on=(1.5, 6.0), off=(3.0, 12.0))
    walks = tuple(
        Walk(span, bool(rng.integers(2)), _four(rng.random(4)))
        for span in _spans(rng, start=start, on=(2.5, 5.0), off=(6.0, 20.0))
    )
    return Block(_make_cycles(rng, seed=seed, start=start), lamp, walks)


def _make_cycles(rng: np.random.Generator, *, seed: int, start: float) -> tuple[Cycle, ...]:
    speed = np.random.default_rng([seed, 2]).uniform(0.85, 1.2)
    # 1. Draw cycles until the block is about full. The last one never aborts, so that a block
    #    needs nothing of the next.
    drawn: list[dict[str, float]] = []
    total = 0.0
    while total < BLOCK_SECONDS - 4.0:
        names: tuple[str, ...] = PHASES
        if rng.random() < ABORT_PROBABILITY and total < BLOCK_SECONDS - 20.0:
            names = PHASES[:3]
        elif rng.random() < SKIP_INSPECT_PROBABILITY:
            names = PHASES[:5]
        drawn.append({name: rng.uniform(*DURATIONS[name]) / speed for name in names})
        total += sum(drawn[-1].values())
    # 2. Stretch them to fill it exactly.
    lengths = np.concatenate([list(durations.values()) for durations in drawn])
    bounds = start + np.cumsum(lengths) * (BLOCK_SECONDS / total)
    bounds[-1] = start + BLOCK_SECONDS
    edges = iter(bounds.tolist())
    cycles: list[Cycle] = []
    for durations in drawn:
        phases = {}
        for name in durations:
            end = next(edges)
            phases[name] = Span(start, end)
            start = end
        # A slipped item stays where it was, for the next cycle to pick up.
        stays = bool(cycles) and cycles[-1].aborted
        item = cycles[-1].item if stays else int(rng.integers(NUM_ITEM_COLOURS))
        wobble = _four(rng.standard_normal(4))
        aborted = "move" not in phases
        cycles.append(Cycle(phases=phases, item=item, aborted=aborted, wobble=wobble))
    return tuple(cycles)


def _spans(
    rng: np.random.Generator, *, start: float, on: tuple[float, float], off: tuple[float, float]
) -> tuple[Span, ...]:
    """Spans within a block, none near its ends: so nothing of them is in the next."""
    spans = []
    at = start + rng.uniform(1.0, off[1])
    while (end := at + rng.uniform(*on)) < start + BLOCK_SECONDS - 1.0:
        spans.append(Span(at, end))
        at = end + rng.uniform(*off)
    return tuple(spans)


def _four(values: np.ndarray) -> tuple[float, float, float, float]:
    a, b, c, d = values.tolist()
    return a, b, c, d
