"""How good a clip's values and captions are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

Words = Sequence[int]
MAX_ORDER = 4
"""Longest n-gram of BLEU."""


def regression_metrics(predicted_NK: np.ndarray, truth_NK: np.ndarray) -> dict[str, float]:
    """`mse`, `rmse`, `mae`, and `r2`: the part of the variance explained, over all values.

    R² is 0 for predicting each value's mean over these clips, and has no lower end.
    """
    errors_NK = predicted_NK.astype(float) - truth_NK
    mse = float((errors_NK**2).mean())
    variance = float(((truth_NK - truth_NK.mean(axis=0)) ** 2).mean())
    return {
        "mse": mse,
        "rmse": math.sqrt(mse),
        "mae": float(np.abs(errors_NK).mean()),
        "r2": 1 - mse / variance if variance else math.nan,
    }


def exact_match(predicted: Sequence[Words], truth: Sequence[Words]) -> float:
    """Part of the captions that are right word for word."""
    pairs = zip(predicted, truth, strict=True)
    return sum(tuple(one) == tuple(other) for one, other in pairs) / len(truth)


def bleu(predicted: Sequence[Words], truth: Sequence[Words]) -> float:
    """BLEU-4 of a corpus with one reference each, 0 to 1 (Papineni et al., ACL 2002).

    Not smoothed: 0 if no four words in a row are right anywhere.
    """
    right, said = np.zeros(MAX_ORDER), np.zeros(MAX_ORDER)
    for one, other in zip(predicted, truth, strict=True):
        for order in range(1, MAX_ORDER + 1):
            ours, theirs = _ngrams(one, order), _ngrams(other, order)
            right[order - 1] += (ours & theirs).total()
            said[order - 1] += ours.total()
    if not right.all():
        return 0.0
    num_said, num_true = sum(map(len, predicted)), sum(map(len, truth))
    brevity = min(0.0, 1 - num_true / num_said)
    return float(np.exp(brevity + np.log(right / said).mean()))


def _ngrams(words: Words, order: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(words[i : i + order]) for i in range(len(words) - order + 1))
