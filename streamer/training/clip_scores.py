"""How good a head is on clips: all figures, by any weights of the clips."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.models.temporal.heads.ctc import BeamState, GreedyState, beam_step, greedy_step
from streamer.training.clip_readings import BEAM_WIDTH
from streamer.training.metrics.captions import bleu_counts, bleu_of
from streamer.training.metrics.frames import ClassScores, class_counts
from streamer.training.metrics.ranking import Ranking
from streamer.training.metrics.regression import regression_scores
from streamer.training.metrics.segments import Stretch, edit_score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.config import ModelConfig
    from streamer.training.clip_dataset import LabelledClip
    from streamer.training.clip_readings import Reading

MEANINGS = {
    "accuracy": "Class right, of all clips",
    "macro_f1": "Macro F1",
    "roc_auc": "ROC-AUC",
    "nll": "Negative log-likelihood (nats)",
    "edit_greedy": "Edit score, best path",
    "edit_beam": f"Edit score, beam of {BEAM_WIDTH}",
    "exact_greedy": "Order right, best path",
    "exact_beam": f"Order right, beam of {BEAM_WIDTH}",
    "frames_greedy": "Frames right, best path",
    "frames_beam": f"Frames right, beam of {BEAM_WIDTH}",
    "exact": "Caption right word for word",
    "bleu": "BLEU-4",
    "mse": "MSE",
    "rmse": "RMSE",
    "mae": "MAE",
    "r2": "R²",
}
"""What a figure is called for people. Of a regression they follow the value's name and a dot."""


def meaning(name: str) -> str:
    """What a figure is called for people."""
    value, dot, figure = name.rpartition(".")
    return f"`{value}`: {MEANINGS[figure]}" if dot else MEANINGS[name]


class ClipScorer(Protocol):
    """Figures of some clips."""

    def scores(self, weights_N: np.ndarray) -> dict[str, float]:
        """Figures by name, where each clip counts so often: whole numbers, float64 (N,)."""
        ...

    def told(self, index: int) -> dict[str, object]:
        """What is true of a clip and what was said, for a report: JSON types only."""
        ...


def make_scorer(
    config: ModelConfig, clips: Sequence[LabelledClip], readings: Sequence[Reading]
) -> ClipScorer:
    """The one for a head."""
    if config.head == "sequence":
        return ClassScorer(config.phases, clips, readings)
    if config.head == "regression":
        return ValueScorer(config.targets, clips, readings)
    if config.head == "ctc":
        return OrderScorer(config.phases, clips, readings)
    return CaptionScorer(config.targets, clips, readings)


class ClassScorer:
    """Of a class per clip.

    Attributes:
        truth_N: The classes.
        probabilities_NC: What was said.
    """

    def __init__(
        self, names: Sequence[str], clips: Sequence[LabelledClip], readings: Sequence[Reading]
    ) -> None:
        self._names = names
        self.truth_N = np.array([int(clip.example.target) for clip in clips])
        self.probabilities_NC = np.stack([reading.outputs for reading in readings])
        rows_N = np.arange(len(clips))
        self._nll_N = -np.log(np.maximum(self.probabilities_NC[rows_N, self.truth_N], 1e-12))
        self._ranking = (
            Ranking(self.probabilities_NC[:, 1], self.truth_N == 1, rows_N)
            if len(names) == 2
            else None
        )

    def confusion(self, weights_N: np.ndarray) -> np.ndarray:
        """How often each class (row) was taken for each (column), float64 (C, C)."""
        count = len(self._names)
        cells_N = self.truth_N * count + self.probabilities_NC.argmax(axis=1)
        return np.bincount(cells_N, weights_N, count**2).reshape(count, count)

    def scores(self, weights_N: np.ndarray) -> dict[str, float]:
        """See `ClipScorer.scores`."""
        confusion_CC = self.confusion(weights_N)
        found = {
            "accuracy": float(np.trace(confusion_CC) / confusion_CC.sum()),
            "macro_f1": ClassScores.of(class_counts(confusion_CC)).macro()["f1"],
            "nll": float(np.average(self._nll_N, weights=weights_N)),
        }
        if self._ranking is not None:
            found["roc_auc"] = self._ranking.curve(weights_N).roc_auc
        return found

    def told(self, index: int) -> dict[str, object]:
        """See `ClipScorer.told`."""
        said_C = self.probabilities_NC[index]
        return {
            "truth": self._names[self.truth_N[index]],
            "said": self._names[int(said_C.argmax())],
            "probabilities": dict(zip(self._names, said_C.round(4).tolist(), strict=True)),
        }


class ValueScorer:
    """Of values per clip, or per frame."""

    def __init__(
        self, names: Sequence[str], clips: Sequence[LabelledClip], readings: Sequence[Reading]
    ) -> None:
        self._names = names
        self.truth = [np.atleast_2d(clip.example.target) for clip in clips]
        self.said = [np.atleast_2d(reading.outputs) for reading in readings]
        self._truth_FK, self._said_FK = np.concatenate(self.truth), np.concatenate(self.said)
        self._clip_F = np.repeat(np.arange(len(clips)), [len(rows) for rows in self.truth])

    def scores(self, weights_N: np.ndarray) -> dict[str, float]:
        """See `ClipScorer.scores`."""
        counts_F = weights_N.astype(np.int64)[self._clip_F]
        return {
            f"{name}.{figure}": value
            for column, name in enumerate(self._names)
            for figure, value in regression_scores(
                np.repeat(self._said_FK[:, column], counts_F),
                np.repeat(self._truth_FK[:, column], counts_F),
            ).items()
        }

    def told(self, index: int) -> dict[str, object]:
        """See `ClipScorer.told`. Of values per frame, the errors."""
        truth_FK, said_FK = self.truth[index], self.said[index]
        if len(truth_FK) == 1:
            return {
                "truth": dict(zip(self._names, truth_FK[0].tolist(), strict=True)),
                "said": dict(zip(self._names, said_FK[0].tolist(), strict=True)),
            }
        maes = {
            name: regression_scores(said_FK[:, k], truth_FK[:, k])["mae"]
            for k, name in enumerate(self._names)
        }
        return {"mae": {name: None if math.isnan(mae) else mae for name, mae in maes.items()}}


class OrderScorer:
    """Of phases in order, by the best path and by a beam.

    Attributes:
        painted: For each clip and way of decoding, the phase of each frame, -1 before the first.
    """

    def __init__(
        self, names: Sequence[str], clips: Sequence[LabelledClip], readings: Sequence[Reading]
    ) -> None:
        self._names = names
        self._truth = [tuple(clip.example.target.tolist()) for clip in clips]
        self._said: list[dict[str, tuple[int, ...]]] = []
        self.painted: list[dict[str, np.ndarray]] = []
        for reading in readings:
            _, emissions = greedy_step(GreedyState(), reading.outputs)
            best = beam_step(BeamState(), reading.outputs, width=BEAM_WIDTH).best
            begun = {
                "greedy": [(one.frame, one.label) for one in emissions],
                "beam": list(zip(best.frames, best.labels, strict=True)),
            }
            self._said.append(
                {way: tuple(label for _, label in found) for way, found in begun.items()}
            )
            length = len(reading.outputs)
            self.painted.append({way: _painted(found, length) for way, found in begun.items()})
        self._per_clip = self._each()
        self._frames = [
            None
            if clip.phases_T is None
            else {
                way: ((said_T == clip.phases_T)[clip.phases_T >= 0]).astype(float)
                for way, said_T in painted.items()
            }
            for clip, painted in zip(clips, self.painted, strict=True)
        ]

    def scores(self, weights_N: np.ndarray) -> dict[str, float]:
        """See `ClipScorer.scores`."""
        found = {
            name: float(np.average(values_N, weights=weights_N))
            for name, values_N in self._per_clip.items()
        }
        for way in ("greedy", "beam"):
            right = total = 0.0
            for weight, frames in zip(weights_N, self._frames, strict=True):
                if frames is not None:
                    right += weight * frames[way].sum()
                    total += weight * len(frames[way])
            if any(frames is not None for frames in self._frames):
                found[f"frames_{way}"] = float(right / total) if total else math.nan
        return found

    def told(self, index: int) -> dict[str, object]:
        """See `ClipScorer.told`."""
        said = {way: self._named(order) for way, order in self._said[index].items()}
        return {"truth": self._named(self._truth[index]), **said}

    def _named(self, order: Sequence[int]) -> list[str]:
        return [self._names[label] for label in order]

    def _each(self) -> dict[str, np.ndarray]:
        return {
            f"{figure}_{way}": np.array(
                [
                    measure(said[way], truth)
                    for said, truth in zip(self._said, self._truth, strict=True)
                ],
                float,
            )
            for way in ("greedy", "beam")
            for figure, measure in (("edit", order_edit), ("exact", tuple.__eq__))
        }


class CaptionScorer:
    """Of captions."""

    def __init__(
        self, names: Sequence[str], clips: Sequence[LabelledClip], readings: Sequence[Reading]
    ) -> None:
        self._truth = [clip.words for clip in clips]
        self._said = [tuple(names[word] for word in reading.words) for reading in readings]
        pairs = list(zip(self._said, self._truth, strict=True))
        self._exact_N = np.array([said == truth for said, truth in pairs], float)
        self._counts_NX = np.stack([bleu_counts(said, truth) for said, truth in pairs])

    def scores(self, weights_N: np.ndarray) -> dict[str, float]:
        """See `ClipScorer.scores`."""
        return {
            "exact": float(np.average(self._exact_N, weights=weights_N)),
            "bleu": bleu_of(weights_N @ self._counts_NX),
        }

    def told(self, index: int) -> dict[str, object]:
        """See `ClipScorer.told`."""
        return {"truth": " ".join(self._truth[index]), "said": " ".join(self._said[index])}


def order_edit(one: Sequence[int], other: Sequence[int]) -> float:
    """The edit score of two orders, 0 to 1. See `edit_score`."""
    first, second = ([Stretch(label, 0.0, 1.0) for label in order] for order in (one, other))
    return edit_score(first, second)


def _painted(begun: Sequence[tuple[int, int]], length: int) -> np.ndarray:
    """Each phase until the next begins."""
    labels_T = np.full(length, -1)
    for frame, label in begun:
        labels_T[frame:] = label
    return labels_T
