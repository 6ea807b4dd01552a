"""What needs no features: the commonest answer of the training part."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from streamer.training.clip_scores import order_edit
from streamer.training.metrics.captions import bleu_counts, bleu_of
from streamer.training.metrics.regression import regression_scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.config import ModelConfig
    from streamer.training.clip_dataset import ClipDataset

Answer = TypeVar("Answer")


def baseline(config: ModelConfig, dataset: ClipDataset) -> dict[str, float]:
    """Figures on the test part of what needs no features: the training part's commonest answer.

    Of a class, an order or a caption the most frequent one; of a value the mean.
    """
    train, test = dataset.train, dataset.test
    if config.head == "regression":
        rows_NK = np.concatenate([np.atleast_2d(clip.example.target) for clip in train])
        mean_K = np.nanmean(rows_NK, axis=0)
        said = [np.broadcast_to(mean_K, clip.example.target.shape) for clip in test]
        truth_FK = np.concatenate([np.atleast_2d(clip.example.target) for clip in test])
        said_FK = np.concatenate([np.atleast_2d(one) for one in said])
        return {
            f"{name}.{figure}": value
            for k, name in enumerate(config.targets)
            for figure, value in regression_scores(said_FK[:, k], truth_FK[:, k]).items()
        }
    if config.head == "caption":
        words = _commonest([clip.words for clip in train])
        counts = sum(bleu_counts(words, clip.words) for clip in test)
        return {
            "exact": float(np.mean([clip.words == words for clip in test])),
            "bleu": bleu_of(np.asarray(counts)),
        }
    orders = [tuple(np.atleast_1d(clip.example.target).tolist()) for clip in train]
    order = _commonest(orders)
    truths = [tuple(np.atleast_1d(clip.example.target).tolist()) for clip in test]
    if config.head == "sequence":
        return {"accuracy": float(np.mean([truth == order for truth in truths]))}
    edit = float(np.mean([order_edit(order, truth) for truth in truths]))
    return {"edit_greedy": edit, "edit_beam": edit}


def _commonest(answers: Sequence[Answer]) -> Answer:
    return Counter(answers).most_common(1)[0][0]
