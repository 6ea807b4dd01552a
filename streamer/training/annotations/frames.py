"""A label per frame → stretches."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")


def runs(values: Sequence[T]) -> Iterator[tuple[T, int, int]]:
    """(value, first, end) of each run of equal values; `end` is exclusive."""
    first = 0
    for value, group in groupby(values):
        end = first + sum(1 for _ in group)
        yield value, first, end
        first = end
