"""Thresholds for false alarms: on drawn scores whose true rates are known."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.core.errors import ConfigError
from streamer.training.calibration import (
    BLOCK_SECONDS,
    ScoreTrack,
    block_maxima,
    calibrate,
    count_alarms,
    needed_seconds,
    smooth,
)
from streamer.training.exceedance import Tail, fit_tail, sure_rate

FPS = 10.0


def scores(hours: float, seed: int, *, heavy: bool = False) -> ScoreTrack:
    """Scores of frames that hang together over a second or so, with a light tail or a heavy one."""
    random = np.random.default_rng(seed)
    frames = round(hours * 3600 * FPS)
    surprise = 0.1 * random.standard_t(4, frames) ** 2 if heavy else random.exponential(0.3, frames)
    slow = np.convolve(surprise, np.exp(-np.arange(20) / 6), mode="same")
    return ScoreTrack((1 + 0.3 * slow).astype(np.float32), np.arange(frames) / FPS)


def test_the_tail_of_exponential_maxima_is_found():
    maxima = 5 + np.random.default_rng(0).exponential(0.4, 20_000)
    tail = fit_tail(maxima, block_seconds=5.0)
    assert tail.shape < 0.05
    assert tail.scale == pytest.approx(0.4, rel=0.06)
    # 720 blocks an hour, of which e^(-2.5 / 0.4) are above 7.5.
    assert tail.rate(7.5) == pytest.approx(720 * np.exp(-2.5 / 0.4), rel=0.2)


def test_a_heavy_tail_is_found_to_be_heavy():
    # Generalised Pareto by inversion: shape 0.3, scale 1.
    uniform = np.random.default_rng(1).random(50_000)
    maxima = (uniform**-0.3 - 1) / 0.3
    tail = fit_tail(maxima, block_seconds=3600.0)
    assert tail.shape == pytest.approx(0.3, abs=0.05)
    assert tail.rate(tail.score(0.001)) == pytest.approx(0.001)
    assert tail.score(0.001) == pytest.approx((0.001**-0.3 - 1) / 0.3, rel=0.15)


@pytest.mark.parametrize("shape", [0.0, 0.3])
def test_rate_and_score_undo_each_other(shape):
    tail = Tail(start=2.0, blocks_per_hour=200.0, scale=0.5, shape=shape)
    for per_hour in (100.0, 1.0, 0.01):
        assert tail.rate(tail.score(per_hour)) == pytest.approx(per_hour)
    assert tail.score(1000.0) == tail.start
    assert tail.rate(0.0) == 200.0


def test_the_sure_rate_is_wider_with_fewer_blocks_and_holds_as_often_as_it_says():
    random = np.random.default_rng(2)
    score = 5 + 0.4 * np.log(720 * 2.0)
    true_rate = 0.5  # 720 blocks an hour times e^(-ln 1440)

    def rate(num, sureness):
        maxima = 5 + random.exponential(0.4, num)
        return sure_rate(maxima, score, block_seconds=5.0, sureness=sureness)

    assert rate(4000, 0.9) < 2 * true_rate
    few = [rate(60, 0.9) for _ in range(40)]
    assert np.median(few) > 2 * true_rate
    assert np.mean(np.array(few) >= true_rate) >= 0.8


@pytest.mark.parametrize("heavy", [False, True])
def test_false_alarms_on_unseen_normal_video_are_near_or_below_the_stated_rate(heavy):
    """Twelve recordings of twelve minutes each, for 2 alarms an hour."""
    stated, alarms, hours = 2.0, [], 3.0
    unseen = scores(hours, 1000, heavy=heavy)
    for seed in range(12):
        config, found = calibrate(
            scores(0.2, seed, heavy=heavy), analysis_fps=FPS, false_alarms_per_hour=stated
        )
        assert found["announced_in_calibration"] == 0
        alarms.append(count_alarms(config, unseen, analysis_fps=FPS) / hours)
    assert np.mean(alarms) <= stated
    assert np.quantile(alarms, 0.8) <= 2 * stated
    # It is no threshold that nothing ever reaches.
    tight, _ = calibrate(unseen, analysis_fps=FPS, false_alarms_per_hour=40.0)
    assert count_alarms(tight, unseen, analysis_fps=FPS) > 0


def test_with_enough_video_no_more_are_announced_than_stated():
    track = scores(2.0, 3)
    config, found = calibrate(track, analysis_fps=FPS, false_alarms_per_hour=10.0)
    assert found["extrapolation"] < 1
    assert count_alarms(config, track, analysis_fps=FPS) <= 20


def test_a_recording_that_is_too_short_is_refused():
    assert needed_seconds(1.0) == 30 * BLOCK_SECONDS
    assert needed_seconds(0.01) == pytest.approx(2 * 3600)
    with pytest.raises(ConfigError, match=r"at least 4.0 minutes.*found 1.2"):
        calibrate(scores(0.02, 0), analysis_fps=FPS, false_alarms_per_hour=1.0)
    with pytest.raises(ConfigError, match=r"at least 120.0 minutes.*record longer"):
        calibrate(scores(1.0, 0), analysis_fps=FPS, false_alarms_per_hour=0.01)


def test_video_on_which_nothing_ever_changes_can_be_calibrated():
    still = ScoreTrack(np.full(3000, 0.7, np.float32), np.arange(3000) / FPS)
    config, found = calibrate(still, analysis_fps=FPS, false_alarms_per_hour=1.0)
    assert config.exit < config.enter < config.ceiling
    assert found["announced_in_calibration"] == 0


def test_blocks_take_what_smoothing_leaves_also_over_holes():
    pts_T = np.concatenate((np.arange(100) / FPS, 30 + np.arange(60) / FPS))
    track = ScoreTrack(np.arange(160, dtype=np.float32), pts_T)
    smoothed = smooth(track, analysis_fps=FPS)
    assert (smoothed <= track.scores_T).all()
    maxima = block_maxima(smoothed, pts_T)
    assert maxima.tolist() == [smoothed[79], smoothed[99], smoothed[119]]
