"""How good captions are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

MAX_ORDER = 4
"""Longest n-gram of BLEU."""


def bleu(predicted: Sequence[Sequence[Hashable]], truth: Sequence[Sequence[Hashable]]) -> float:
    """BLEU-4 of a corpus with one reference each, 0 to 1 (Papineni et al., ACL 2002).

    Not smoothed: 0 if no four words in a row are right anywhere.
    """
    pairs = zip(predicted, truth, strict=True)
    return bleu_of(np.sum([bleu_counts(one, other) for one, other in pairs], axis=0))


def bleu_counts(said: Sequence[Hashable], truth: Sequence[Hashable]) -> np.ndarray:
    """What a caption adds to a corpus: n-grams right and said by order, words said and true.

    float64 (2 `MAX_ORDER` + 2,); sums of these make `bleu_of`.
    """
    right, total = [], []
    for order in range(1, MAX_ORDER + 1):
        ours, theirs = _ngrams(said, order), _ngrams(truth, order)
        right.append((ours & theirs).total())
        total.append(ours.total())
    return np.array([*right, *total, len(said), len(truth)], float)


def bleu_of(counts_X: np.ndarray) -> float:
    """BLEU-4 of sums of `bleu_counts`."""
    right, said = counts_X[:MAX_ORDER], counts_X[MAX_ORDER : 2 * MAX_ORDER]
    if not right.all():
        return 0.0
    num_said, num_true = counts_X[-2:]
    brevity = min(0.0, 1 - num_true / num_said)
    return float(np.exp(brevity + np.log(right / said).mean()))


def _ngrams(words: Sequence[Hashable], order: int) -> Counter[tuple[Hashable, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
