from __future__ import annotations

import math

import numpy as np
import pytest

from streamer.training.metrics import Stretch
from streamer.training.metrics.bootstrap import bootstrap
from streamer.training.metrics.onsets import delay_quantile, noticed
from streamer.training.metrics.points import Point, point_average_precision, right_points
from streamer.training.metrics.stability import num_flickers, num_onsets


def of(*spans: tuple[float, float]) -> list[Stretch]:
    return [Stretch(0, *span) for span in spans]


# Announcements.


def test_each_onset_takes_one_announcement_and_the_rest_are_false():
    found = noticed([4.8, 5.5, 11.0, 30.0], of((5, 8), (10, 12), (20, 22)))
    # 4.8 belongs to the first (it may come early), 5.5 to none (the first has one), 11 to the
    # second, 30 to none; the third is missed.
    assert found.delays_seconds == (pytest.approx(-0.2), pytest.approx(1.0), math.inf)
    assert found.num_false == 2


def test_an_announcement_may_come_shortly_after_a_short_segment():
    assert noticed([5.9], of((5, 5.2))).delays_seconds == (pytest.approx(0.9),)
    assert noticed([6.3], of((5, 5.2))).delays_seconds == (math.inf,)
    assert noticed([3.9], of((5, 5.2))).num_false == 1


def test_delays_count_misses_as_infinitely_late():
    delays = np.array([0.1, 0.2, 0.3, math.inf])
    assert delay_quantile(delays, 0.5) == 0.2
    assert delay_quantile(delays, 0.75) == 0.3
    assert delay_quantile(delays, 0.95) == math.inf
    assert math.isnan(delay_quantile(np.zeros(0), 0.5))


# Points.


def test_points_choose_by_confidence_and_an_onset_is_taken_once():
    said = [Point(10.4, 0.6), Point(11.0, 0.9), Point(20.0, 0.8)]
    # The more confident 11.0 takes the onset at 10; then 10.4 finds only 12, 1.6 s away.
    assert right_points(said, [10.0, 12.0], offset_seconds=1.0).tolist() == [False, True, False]
    assert right_points(said, [10.0, 12.0], offset_seconds=2.0).tolist() == [True, True, False]
    assert right_points(said, [], offset_seconds=9.0).tolist() == [False, False, False]


def test_point_average_precision_by_hand():
    confidence = np.array([0.5, 0.9, 0.7])
    right = np.array([True, True, False])
    # By confidence: right (1 / 1), wrong, right (2 / 3); a third onset was not found.
    assert point_average_precision(confidence, right, num_true=3) == pytest.approx((1 + 2 / 3) / 3)
    # The first video counts twice, the other not at all.
    weights = np.array([2.0, 2.0, 0.0])
    found = point_average_precision(confidence, right, num_true=4, weights_N=weights)
    assert found == pytest.approx((2 + 2) / 4)
    # Of equal confidence, none comes first.
    equal = np.array([0.5, 0.5])
    for order in ([True, False], [False, True]):
        assert point_average_precision(equal, np.array(order), num_true=1) == pytest.approx(0.5)


def test_point_average_precision_of_silence():
    assert point_average_precision(np.zeros(0), np.zeros(0, bool), num_true=2) == 0.0
    assert math.isnan(point_average_precision(np.ones(1), np.ones(1, bool), num_true=0))


# What is shown.


def test_flicker_is_short_false_and_over():
    pts = np.arange(50) / 10
    shown, truth = np.zeros(50, bool), np.zeros(50, bool)
    shown[2:5] = True  # 0.3 s, never true
    shown[10:13] = truth[12] = True  # short, but right at its last frame
    shown[20:31] = True  # wrong, but 1.1 s long
    shown[47:] = True  # not over
    assert num_flickers(shown, truth, pts) == 1
    assert num_onsets(shown) == 4
    assert num_onsets(np.ones(3, bool)) == 1


# The bootstrap.


def test_intervals_are_those_of_the_mean_of_normal_numbers():
    values = np.random.default_rng(3).normal(size=400)

    def mean(weights):
        return {"mean": float(weights @ values / weights.sum())}

    low, high = bootstrap(mean, num_videos=400, seed=1)["mean"]
    error = values.std(ddof=1) / 20
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert bootstrap(mean, num_videos=400, seed=1)["mean"] == (low, high)
    assert bootstrap(mean, num_videos=400, seed=2)["mean"] != (low, high)


def test_every_resample_has_as_many_videos_as_there_are():
    seen = []
    bootstrap(lambda w: seen.append(w) or {}, num_videos=7, seed=1, num_resamples=30)
    assert {float(weights.sum()) for weights in seen} == {7.0}
    assert len({tuple(weights) for weights in seen}) > 20


def test_one_video_has_no_interval_and_empty_resamples_say_nothing():
    assert bootstrap(lambda weights: {"x": 1.0}, num_videos=1, seed=1) == {}

    def first_only(weights):
        return {"x": 1.0 if weights[0] else math.nan, "late": math.inf if weights[0] else 0.5}

    found = bootstrap(first_only, num_videos=2, seed=1)
    assert found["x"] == (1.0, 1.0)
    assert found["late"] == (0.5, math.inf)
