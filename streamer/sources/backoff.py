"""How long to wait before a source is opened again."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random


@dataclass(slots=True, kw_only=True)
class Backoff:
    """A schedule of delays: exponential, capped, with full jitter.

    Each delay is drawn evenly from 0 to a ceiling that doubles up to `cap_seconds`, so that
    cameras lost together do not come back together. The first is drawn from 0 to `base_seconds`.

    Attributes:
        base_seconds: First ceiling.
        cap_seconds: Highest ceiling.
        stable_seconds: A source that ran this long starts again from the first ceiling.
        random: Where the jitter comes from.
    """

    base_seconds: float = 0.5
    cap_seconds: float = 30.0
    stable_seconds: float = 30.0
    random: Random = field(default_factory=Random)
    _attempt: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if not 0 < self.base_seconds <= self.cap_seconds:
            raise ValueError(
                f"expected 0 < base_seconds <= cap_seconds, "
                f"found {self.base_seconds} and {self.cap_seconds}"
            )

    def next_seconds(self, *, ran_seconds: float = 0.0) -> float:
        """Seconds to wait now.

        Args:
            ran_seconds: How long the source delivered since it was opened; 0 if it never did.
        """
        if ran_seconds >= self.stable_seconds:
            self.reset()
        # The exponent is bounded before it is used: 2 ** 2000 is no float.
        ceiling = min(self.cap_seconds, self.base_seconds * 2 ** min(self._attempt, 32))
        self._attempt += 1
        return self.random.uniform(0.0, ceiling)

    def reset(self) -> None:
        """Start again from the first ceiling."""
        self._attempt = 0
