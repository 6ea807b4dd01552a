"""Which function calls go wrong, and how."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from streamer.transport.connection import PREFIX


class Fault(StrEnum):
    """What happens to a function call on its way."""

    CUT_BEFORE = "cut_before"
    """The connection is closed. The server never hears of the call."""
    CUT_AFTER = "cut_after"
    """The server does it. Its reply is swallowed and the connection closed."""
    DELAY = "delay"
    """The call comes later, the connection lives."""
    LATE = "late"
    """The call comes after its caller has given up: a write that nobody waits for any more."""
    SWALLOW = "swallow"
    """The server does it. Its reply never comes, the connection stays open."""
    HALF_OPEN = "half_open"
    """The connection is dead in both directions from now on, and nobody is told."""


@dataclass(slots=True)
class Plan:
    """Draws a fault for a call, seeded. Thread-safe.

    Of the kinds it takes the one that this function has had least often, so that every kind meets
    every function.

    Attributes:
        seed: Decides everything.
        ratio: How many of the calls go wrong.
        ratio_of: The same for some functions, by name without its prefix.
        kinds: Which faults.
        delay_seconds: Range of `DELAY`.
        late_seconds: Range of `LATE`: longer than the clients' timeout.
        counts: Faults drawn, by (kind, function).
        calls: Calls seen, by function.
    """

    seed: int
    ratio: float = 0.02
    ratio_of: dict[str, float] = field(default_factory=dict)
    kinds: tuple[Fault, ...] = tuple(Fault)
    delay_seconds: tuple[float, float] = (0.05, 1.0)
    late_seconds: tuple[float, float] = (5.2, 7.0)
    counts: Counter[tuple[Fault, str]] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    _random: Random = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)

    def draw(self, function: str) -> tuple[Fault, float] | None:
        """The fault of this call and its seconds, or None."""
        name = function.removeprefix(PREFIX)
        with self._lock:
            self.calls[name] += 1
            if self._random.random() >= self.ratio_of.get(name, self.ratio):
                return None
            shuffled = self._random.sample(self.kinds, len(self.kinds))
            kind = min(shuffled, key=lambda kind: self.counts[kind, name])
            self.counts[kind, name] += 1
            low, high = self.late_seconds if kind is Fault.LATE else self.delay_seconds
            return kind, self._random.uniform(low, high)
