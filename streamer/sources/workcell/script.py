"""What happens in the work cell, and when: an endless timeline that is a function of its seed.

Time is cut into blocks of `BLOCK_SECONDS`. Each block is made from (seed, block number) alone, so
any time can be looked up without walking there, and only the last few blocks are kept.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from streamer.sources.workcell.block import ACTIONS, BLOCK_SECONDS, Block, make_block

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.sources.workcell.block import Cycle, Span, Walk

KEPT_BLOCKS = 4


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true from `start_seconds` until just before `end_seconds`."""

    label: str
    kind: Literal["phase", "action"]
    start_seconds: float
    end_seconds: float


class WorkcellScript:
    """The timeline of one seed. Bounded memory; any time is found without the times before it.

    Args:
        seed: At least 0.
    """

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"expected a seed of at least 0, found {seed}")
        self.seed = seed
        self._blocks: OrderedDict[int, Block] = OrderedDict()

    def phase_at(self, seconds: float) -> str:
        """The one phase at that time."""
        return self.cycles_at(seconds)[1].phase_at(seconds)

    def actions_at(self, seconds: float) -> frozenset[str]:
        """The actions at that time, possibly none."""
        carrying = self.cycles_at(seconds)[1].carrying
        holds = (
            carrying is not None and carrying.holds(seconds),
            self.lamp_at(seconds),
            any(walk.span.holds(seconds) for walk in self._block_at(seconds).walks),
        )
        return frozenset(label for label, held in zip(ACTIONS, holds, strict=True) if held)

    def lamp_at(self, seconds: float) -> bool:
        """Whether the signal lamp is lit."""
        return any(span.holds(seconds) for span in self._block_at(seconds).lamp)

    def walk_at(self, seconds: float) -> Walk | None:
        """Whoever can be seen at that time, if only in part: a little longer than the action."""
        walks = self._block_at(seconds).walks
        return next((walk for walk in walks if walk.in_sight(seconds)), None)

    def cycles_at(self, seconds: float) -> tuple[Cycle | None, Cycle]:
        """The cycle before the one at that time (None at the very beginning), and that one."""
        cycles = self._block_at(seconds).cycles
        index = bisect_right(cycles, seconds, key=lambda c: c.phases["idle"].start_seconds) - 1
        if index > 0:
            return cycles[index - 1], cycles[index]
        number = int(seconds // BLOCK_SECONDS)
        return (self._block(number - 1).cycles[-1] if number else None), cycles[0]

    def truth(self, until_seconds: float) -> list[Truth]:
        """Every segment from 0 to there, by start. The ones that go on are cut there."""
        truths = [
            Truth(label, kind, span.start_seconds, min(span.end_seconds, until_seconds))
            for number in range(math.ceil(until_seconds / BLOCK_SECONDS))
            for label, kind, span in _labels(self._block(number))
            if span.start_seconds < until_seconds
        ]
        return sorted(truths, key=lambda truth: (truth.start_seconds, truth.kind != "phase"))

    def _block_at(self, seconds: float) -> Block:
        if seconds < 0:
            raise ValueError(f"expected a time of at least 0 seconds, found {seconds}")
        return self._block(int(seconds // BLOCK_SECONDS))

    def _block(self, number: int) -> Block:
        block = self._blocks.get(number)
        if block is None:
            block = self._blocks[number] = make_block(self.seed, number=number)
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return block


def _labels(block: Block) -> Iterator[tuple[str, Literal["phase", "action"], Span]]:
    for cycle in block.cycles:
        for name, span in cycle.phases.items():
            yield name, "phase", span
        if cycle.carrying is not None:
            yield "carrying", "action", cycle.carrying
    for span in block.lamp:
        yield "lamp_on", "action", span
    for walk in block.walks:
        yield "person_passing", "action", walk.span
