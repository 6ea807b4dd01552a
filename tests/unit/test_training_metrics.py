from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.training.metrics import (
    Counts,
    Stretch,
    edit_score,
    frame_counts,
    macro_f1,
    onset_errors,
    painted,
    segment_counts,
    stretches,
    without,
)


def of(*spans: tuple[int, float, float]) -> list[Stretch]:
    return [Stretch(*span) for span in spans]


TRUTH = of((0, 0.0, 4.0), (1, 4.0, 6.0), (2, 6.0, 9.0), (0, 9.0, 12.0))


def test_runs_become_stretches_and_negative_labels_gaps():
    labels = np.array([1, 1, -1, 2, 2, 2])
    pts = np.arange(6) / 10
    assert stretches(labels, pts) == of((1, 0.0, 0.2), (2, 0.3, 0.5))
    assert stretches(np.array([], int), np.array([])) == []


def test_a_perfect_prediction_has_perfect_scores():
    counts = segment_counts(TRUTH, TRUTH, overlap=0.5)
    assert (counts.right, counts.wrong, counts.missed, counts.f1) == (4, 0, 0, 1.0)
    assert edit_score(TRUTH, TRUTH) == 1.0
    assert onset_errors(TRUTH, TRUTH) == [0.0, 0.0, 0.0]


def test_segments_are_found_once_and_only_with_enough_overlap():
    said = of((0, 0.0, 1.9), (0, 1.9, 4.0), (1, 4.0, 6.0), (2, 8.0, 9.0))
    half = segment_counts(said, TRUTH, overlap=0.5)
    # 1.9 of 4 s is too little, 2.1 is enough, 1 of 3 is not; two true ones are missed.
    assert (half.right, half.wrong, half.missed) == (2, 2, 2)
    some = segment_counts(said, TRUTH, overlap=0.25)
    # Both halves of the first would do: the second one to come is wrong.
    assert (some.right, some.wrong, some.missed) == (3, 1, 1)
    assert some.f1 == pytest.approx(2 * 3 / 8)


def test_nothing_said_and_nothing_to_say():
    assert segment_counts([], TRUTH, overlap=0.1).f1 == 0.0
    assert segment_counts(TRUTH, [], overlap=0.1).wrong == 4
    assert Counts().f1 == 1.0
    assert edit_score([], []) == 1.0
    assert edit_score([], TRUTH) == 0.0


def test_the_edit_score_counts_insertions_deletions_and_changes():
    assert edit_score(TRUTH[:3], TRUTH) == 0.75
    assert edit_score([*TRUTH, TRUTH[1]], TRUTH) == 0.8
    assert edit_score(of((1, 0.0, 4.0), *[(s.label, 0.0, 1.0) for s in TRUTH[1:]]), TRUTH) == 0.75


def test_onset_errors_are_signed_and_far_ones_are_not_found():
    said = of((0, 0.0, 4.3), (1, 4.3, 5.9), (2, 5.9, 11.5), (0, 11.5, 12.0))
    late, early, lost = onset_errors(said, TRUTH)
    assert (late, early) == (pytest.approx(0.3), pytest.approx(-0.1))
    assert math.isnan(lost)


def test_frame_scores():
    said, truth = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert frame_counts(said == 1, truth == 1).f1 == pytest.approx(0.8)
    assert macro_f1(said, truth, num_classes=2) == pytest.approx((0.8 + 2 / 3) / 2)


def test_the_last_stretch_may_end_later_than_its_last_frame():
    labels, pts = np.array([0, 0, 1]), np.array([0.0, 1.0, 2.0])
    assert stretches(labels, pts, end_seconds=3.0) == of((0, 0.0, 2.0), (1, 2.0, 3.0))


def test_background_is_removed_and_its_neighbours_stay_apart():
    segments = of((1, 0.0, 1.0), (0, 1.0, 2.0), (1, 2.0, 3.0))
    assert without(segments, {0}) == [segments[0], segments[2]]
    # Lea et al.: an action that comes twice is not one action.
    assert edit_score(without(segments, {0}), of((1, 0.0, 3.0))) == 0.5


def test_segments_are_painted_onto_frames():
    assert painted(of((1, 0.1, 0.2)), np.arange(4) / 10).tolist() == [-2, 1, 1, -2]
