"""Right, wrong and missed: what precision, recall, F1 and Jaccard are made of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counts:
    """Right, wrong and missed; adds up over clips."""

    right: int = 0
    wrong: int = 0
    missed: int = 0

    def __iadd__(self, other: Counts) -> Counts:
        self.right += other.right
        self.wrong += other.wrong
        self.missed += other.missed
        return self

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall, 0 to 1; 1 if there was nothing to find."""
        total = 2 * self.right + self.wrong + self.missed
        return 2 * self.right / total if total else 1.0

    @property
    def triple(self) -> tuple[int, int, int]:
        """(right, wrong, missed), for arrays of counts."""
        return self.right, self.wrong, self.missed
