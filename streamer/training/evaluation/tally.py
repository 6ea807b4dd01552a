"""What is counted of one video, for one kind of labels: all that its scores are made of.

Counts of videos add up, so that a resample of a bootstrap is a weighted sum. Phases and actions are
counted alike: a class holds at a frame or it does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.training.metrics import Counts, edit_score, frame_counts, segment_counts, stretches
from streamer.training.metrics.calibration import (
    CalibrationSums,
    binary_calibration,
    class_calibration,
)
from streamer.training.metrics.onsets import noticed
from streamer.training.metrics.points import OFFSETS_SECONDS, Point, right_points
from streamer.training.metrics.stability import num_flickers, num_onsets

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from streamer.training.evaluation.announced import Announcement
    from streamer.training.metrics import Stretch

OVERLAPS = (0.10, 0.25, 0.50)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One video, one kind of labels: what is true and what was said. N counts known frames.

    Attributes:
        exclusive: Whether one class holds at a time (phases).
        known_T: bool, frames whose truth is known.
        truth_TC: bool.
        raw_TC: Probabilities before calibration.
        probabilities_TC: Calibrated ones, as the decoder has them.
        shown_TC: bool, see `Announced`.
        segments: Confirmed ones.
        announcements: Their labels are those of this kind.
        pts_T: Seconds.
        seconds: Length of the video.
        counted: Classes that are not background.
    """

    exclusive: bool
    known_T: np.ndarray
    truth_TC: np.ndarray
    raw_TC: np.ndarray
    probabilities_TC: np.ndarray
    shown_TC: np.ndarray
    segments: Sequence[Stretch]
    announcements: Sequence[Announcement]
    pts_T: np.ndarray
    seconds: float
    counted: Collection[int]

    @property
    def said_TC(self) -> np.ndarray:
        """bool, what the outputs of each frame say at once."""
        if not self.exclusive:
            return self.probabilities_TC >= 0.5
        best_T = self.probabilities_TC.argmax(axis=1)
        return np.asarray(best_T[:, None] == np.arange(self.probabilities_TC.shape[1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of one video. C classes, K overlaps, O offsets.

    Of the background there are no segments, points, onsets or announcements.

    Attributes:
        seconds: Length.
        frames_C3: Right, wrong, missed frames of each class, by the outputs.
        shown_C3: The same by what was shown.
        exact: Known frames; those where the outputs are right in every class, and where what was
            shown is.
        segments_CK3: Right, wrong, missed segments.
        edit: Edit score; NaN for actions, which have no order.
        points: Per class, confidences (N,) and whether right at each offset (N, O).
        num_true_C: Onsets.
        delays_seconds: From each true onset that somebody saw begin to its announcement.
        false_C: Announcements, not taken back, of what did not begin.
        spoken: Announcements; those taken back; flickers; onsets shown; true onsets.
        calibration: Of the calibrated probabilities.
        raw_calibration: Of those before.
    """

    seconds: float
    frames_C3: np.ndarray
    shown_C3: np.ndarray
    exact: np.ndarray
    segments_CK3: np.ndarray
    edit: float
    points: tuple[tuple[np.ndarray, np.ndarray], ...]
    num_true_C: np.ndarray
    delays_seconds: np.ndarray
    false_C: np.ndarray
    spoken: np.ndarray
    calibration: CalibrationSums
    raw_calibration: CalibrationSums


def take_tally(material: Material) -> Tally:
    """Count one video."""
    known_T, num_classes = material.known_T, material.truth_TC.shape[1]
    said_TC, shown_TC, truth_TC = material.said_TC, material.shown_TC, material.truth_TC
    true_of = _true_segments(material)
    points = [_points(material, label, true_of[label]) for label in range(num_classes)]
    onsets = _Onsets.of(material, true_of)
    return Tally(
        seconds=material.seconds,
        frames_C3=_class_counts(said_TC[known_T], truth_TC[known_T]),
        shown_C3=_class_counts(shown_TC[known_T], truth_TC[known_T]),
        exact=np.array(
            [
                known_T.sum(),
                (said_TC == truth_TC).all(axis=1)[known_T].sum(),
                (shown_TC == truth_TC).all(axis=1)[known_T].sum(),
            ]
        ),
        segments_CK3=_segment_counts(material, true_of),
        edit=_edit(material, true_of),
        points=tuple(points),
        num_true_C=np.array([len(segments) for segments in true_of]),
        delays_seconds=onsets.delays_seconds,
        false_C=onsets.false_C,
        spoken=_spoken(material, true_of),
        calibration=_calibration(material, material.probabilities_TC),
        raw_calibration=_calibration(material, material.raw_TC),
    )


def segment_sums(counts_CK3: np.ndarray) -> np.ndarray:
    """F1 at each overlap, (K,), of all classes together; 1 where there was nothing to find."""
    return np.array(
        [Counts(*sums).f1 for sums in np.asarray(counts_CK3).sum(axis=0).tolist()], np.float64
    )


def _class_counts(said_NC: np.ndarray, truth_NC: np.ndarray) -> np.ndarray:
    return np.array(
        [
            frame_counts(said_N, truth_N).triple
            for said_N, truth_N in zip(said_NC.T, truth_NC.T, strict=True)
        ]
    )


def _true_segments(material: Material) -> list[list[Stretch]]:
    """Of each class; none of the background."""
    return [
        stretches(np.where(held_T, label, -1), material.pts_T) if label in material.counted else []
        for label, held_T in enumerate(material.truth_TC.T)
    ]


def _segment_counts(material: Material, true_of: Sequence[Sequence[Stretch]]) -> np.ndarray:
    counts_CK3 = np.zeros((len(true_of), len(OVERLAPS), 3), np.int64)
    for label in material.counted:
        said = [segment for segment in material.segments if segment.label == label]
        for k, overlap in enumerate(OVERLAPS):
            counts_CK3[label, k] = segment_counts(said, true_of[label], overlap=overlap).triple
    return counts_CK3


def _edit(material: Material, true_of: Sequence[Sequence[Stretch]]) -> float:
    if not material.exclusive:
        return float("nan")
    truth = sorted(
        (segment for segments in true_of for segment in segments),
        key=lambda segment: segment.start_seconds,
    )
    said = [segment for segment in material.segments if segment.label in material.counted]
    return edit_score(said, truth)


def _points(
    material: Material, label: int, truth: Sequence[Stretch]
) -> tuple[np.ndarray, np.ndarray]:
    said = [
        Point(announcement.at_seconds, announcement.confidence)
        for announcement in material.announcements
        if announcement.label == label and label in material.counted
    ]
    onsets = [segment.start_seconds for segment in truth]
    right_NO = np.zeros((len(said), len(OFFSETS_SECONDS)), bool)
    for k, offset in enumerate(OFFSETS_SECONDS):
        right_NO[:, k] = right_points(said, onsets, offset_seconds=offset)
    return np.array([point.confidence for point in said]), right_NO


@dataclass(frozen=True, slots=True)
class _Onsets:
    """Delays, and announcements for nothing, of the announcements that were not taken back."""

    delays_seconds: np.ndarray
    false_C: np.ndarray

    @classmethod
    def of(cls, material: Material, true_of: Sequence[Sequence[Stretch]]) -> _Onsets:
        delays, false_C = [], np.zeros(len(true_of), np.int64)
        for label in material.counted:
            said = [
                announcement.at_seconds
                for announcement in material.announcements
                if announcement.label == label and not announcement.retracted
            ]
            found = noticed(said, true_of[label])
            false_C[label] = found.num_false
            delays += [
                delay
                for delay, segment in zip(found.delays_seconds, true_of[label], strict=True)
                # What held in the first frame, nobody saw begin.
                if segment.start_seconds > material.pts_T[0]
            ]
        return cls(np.array(delays, np.float64), false_C)


def _spoken(material: Material, true_of: Sequence[Sequence[Stretch]]) -> np.ndarray:
    said = [note for note in material.announcements if note.label in material.counted]
    flickers = shown = 0
    for label in material.counted:
        shown_T = material.shown_TC[:, label]
        flickers += num_flickers(shown_T, material.truth_TC[:, label], material.pts_T)
        shown += num_onsets(shown_T)
    retracted = sum(note.retracted for note in said)
    return np.array([len(said), retracted, flickers, shown, sum(map(len, true_of))])


def _calibration(material: Material, probabilities_TC: np.ndarray) -> CalibrationSums:
    truth_NC = material.truth_TC[material.known_T]
    probabilities_NC = probabilities_TC[material.known_T]
    if material.exclusive:
        return class_calibration(probabilities_NC, truth_NC.argmax(axis=1))
    return binary_calibration(probabilities_NC.ravel(), truth_NC.ravel())
