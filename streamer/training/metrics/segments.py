"""Segments: what holds, from when until when, and how well that is found."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from streamer.training.metrics.counts import Counts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment: label and half-open time."""

    label: int
    start_seconds: float
    end_seconds: float

    def overlap(self, other: Stretch) -> float:
        """Intersection over union; 0 for another label."""
        if self.label != other.label:
            return 0.0
        start, end = (
            max(self.start_seconds, other.start_seconds),
            min(self.end_seconds, other.end_seconds),
        )
        union = max(self.end_seconds, other.end_seconds) - min(
            self.start_seconds, other.start_seconds
        )
        return max(0.0, end - start) / union if union > 0 else 0.0


def stretches(
    labels_T: np.ndarray, pts_T: np.ndarray, *, end_seconds: float | None = None
) -> list[Stretch]:
    """Runs of equal labels. Negative labels are gaps.

    Args:
        labels_T: int, a label per frame.
        pts_T: Seconds; a run ends where the next begins.
        end_seconds: Where the last run ends. Default: at the last frame.
    """
    if not len(labels_T):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(labels_T)) + 1), len(labels_T)]
    times = [*pts_T, pts_T[-1] if end_seconds is None else end_seconds]
    return [
        Stretch(int(labels_T[start]), float(times[start]), float(times[end]))
        for start, end in pairwise(cuts)
        if labels_T[start] >= 0
    ]


def without(segments: Iterable[Stretch], background: Collection[int]) -> list[Stretch]:
    """Segments of other labels: the background policy of Lea et al. (CVPR 2017).

    Segments that were neighbours of the background do not become one.
    """
    return [segment for segment in segments if segment.label not in background]


def painted(segments: Sequence[Stretch], pts_T: np.ndarray) -> np.ndarray:
    """The label of each frame, -2 where no segment is. A last segment holds its last frame."""
    labels_T = np.full(len(pts_T), -2)
    for segment in segments:
        held = (pts_T >= segment.start_seconds) & (pts_T <= segment.end_seconds)
        labels_T[held] = segment.label
    return labels_T


def segment_counts(
    predicted: Sequence[Stretch], truth: Sequence[Stretch], *, overlap: float
) -> Counts:
    """Segments found: of the same label, overlapping enough, each true one once.

    The segmental F1 of Lea et al., "Temporal Convolutional Networks" (CVPR 2017). They take the
    mean of the F1 of each video; Farha and Gall, "MS-TCN" (CVPR 2019), take the F1 of the counts
    of all videos.
    """
    found = [False] * len(truth)
    counts = Counts()
    for segment in predicted:
        overlaps = [segment.overlap(other) for other in truth]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= overlap and not found[best]:
            found[best] = True
            counts.right += 1
        else:
            counts.wrong += 1
    counts.missed = found.count(False)
    return counts


def edit_score(predicted: Sequence[Stretch], truth: Sequence[Stretch]) -> float:
    """1 - Levenshtein distance of the sequences of labels / length of the longer, 0 to 1.

    Lea et al., "Segmental Spatiotemporal CNNs" (ECCV 2016).
    """
    longest = max(len(predicted), len(truth))
    if not longest:
        return 1.0
    row = list(range(len(truth) + 1))
    for i, segment in enumerate(predicted, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(truth, start=1):
            changed = diagonal + (segment.label != other.label)
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, changed)
    return 1 - row[-1] / longest
