"""The filter over phases, fitted: counted, searched, and measured at every lag."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from streamer.models.bundle import DecoderConfig
from streamer.training.annotations import Labels
from streamer.training.chain import MAX_STAGES, fit_chain
from streamer.training.dataset import Example
from streamer.training.decoding import ClipDecoder
from streamer.training.delay import DelayPoint, delay_curve, lagged_labels, onset_delays
from streamer.training.filter_search import search_filter, shortest_lag
from streamer.training.metrics import Stretch, stretches
from streamer.training.plots import plot_delay_f1
from streamer.training.tuning import tune

LABELS = Labels(("wait", "work", "pack"), ())
FPS = 10.0


def clip(phases, *, name="clip"):
    phases_T = np.array(phases)
    return Example(
        name=name,
        compressed=False,
        features_TD=np.zeros((len(phases_T), 0), np.float16),
        pts_T=np.arange(len(phases_T)) / FPS,
        phases_T=phases_T,
        actions_TA=np.zeros((len(phases_T), 0), np.float32),
    )


def in_turn(seed, *, runs=12):
    """wait → work → pack → wait …, each about two seconds."""
    lengths = np.random.default_rng(seed).integers(14, 27, runs)
    return clip(np.repeat(np.arange(runs) % 3, lengths))


def noisy(example, seed, *, wrong=0.25):
    """Outputs that are sure of a random phase in a part of the frames."""
    random = np.random.default_rng(seed)
    said_T = example.phases_T.copy()
    lost_T = random.random(len(said_T)) < wrong
    said_T[lost_T] = random.integers(0, 3, lost_T.sum())
    return (4 * np.eye(3)[said_T]).astype(np.float32)


def plain(num_phases=3):
    return DecoderConfig(
        phase_temperature=1.0,
        action_temperature=1.0,
        smoothing_seconds=0.0,
        enter_C=(0.5,) * num_phases,
        exit_C=(0.5,) * num_phases,
        min_on_seconds_C=(0.3,) * num_phases,
        min_off_seconds_C=(0.3,) * num_phases,
    )


def test_the_chain_counts_what_follows_what_and_how_long_it_lasts():
    chain = fit_chain([clip([0] * 20 + [1] * 10 + [0] * 20 + [2] * 10 + [0] * 30)], num_phases=3)
    np.testing.assert_allclose(chain.transition_PP[0], [0, 0.5, 0.5])
    np.testing.assert_allclose(chain.transition_PP[1], [1.5 / 2, 0, 0.5 / 2])
    np.testing.assert_allclose(chain.prior_P, [71 / 93, 11 / 93, 11 / 93], rtol=1e-6)
    assert chain.initial_P[0] > 0.8
    assert sum(chain.initial_P) == pytest.approx(1)
    # Two ends seen in 6.9 s, and one more run of the pooled mean, 8.9 s / 5.
    assert chain.mean_seconds_P[0] == pytest.approx((6.9 + 8.9 / 5) / 3)


def test_unknown_frames_are_no_transition():
    chain = fit_chain([clip([0] * 5 + [-1] * 5 + [1] * 5 + [2] * 5)], num_phases=3)
    np.testing.assert_allclose(chain.transition_PP[0], [0, 0.5, 0.5])  # nothing was seen
    np.testing.assert_allclose(chain.transition_PP[1], [0.25, 0, 0.75])


def test_stages_follow_the_spread_of_durations():
    random = np.random.default_rng(0)
    steady = clip(np.repeat(np.arange(60) % 2, 20))
    wild = clip(np.repeat(np.arange(400) % 2, 1 + random.exponential(20, 400).astype(int)))
    assert fit_chain([steady], num_phases=2).stages_P == (MAX_STAGES, MAX_STAGES)
    assert fit_chain([wild], num_phases=2).stages_P == (1, 1)


def test_a_graph_forbids_though_it_was_seen():
    graph_PP = np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
    chain = fit_chain([in_turn(0)], num_phases=3, graph_PP=graph_PP)
    assert chain.transition_PP == ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))


IN_TURN = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)


@pytest.mark.parametrize("graph_PP", [None, IN_TURN])
@pytest.mark.parametrize("lag", [0, 1, 4])
def test_labels_at_a_lag_are_what_the_decoder_confirms(lag, graph_PP):
    example = in_turn(1)
    logits = noisy(example, 1, wrong=0.5)
    chain = fit_chain([in_turn(2)], num_phases=3, graph_PP=graph_PP)
    made = msgspec.structs.replace(
        plain(),
        phase_filter=msgspec.structs.replace(chain, lag_frames=4, smoothing_seconds=0.1),
    )
    labels_LT = lagged_labels(made, logits, example.pts_T, num_phases=3, analysis_fps=FPS)
    at_lag = msgspec.structs.replace(
        made, phase_filter=msgspec.structs.replace(made.phase_filter, lag_frames=lag)
    )
    decoded = ClipDecoder(at_lag, labels=LABELS, analysis_fps=FPS).decode(logits, example.pts_T)
    assert decoded.phases == stretches(labels_LT[lag], example.pts_T)
    assert len(decoded.phases) > 5


def test_a_clip_shorter_than_the_lag_confirms_nothing():
    made = msgspec.structs.replace(
        plain(),
        phase_filter=msgspec.structs.replace(fit_chain([in_turn(0)], num_phases=3), lag_frames=4),
    )
    example = clip([0, 0, 0])
    labels_LT = lagged_labels(
        made, noisy(example, 0), example.pts_T, num_phases=3, analysis_fps=FPS
    )
    assert (labels_LT[:3] >= 0).all()
    assert (labels_LT[3:] == -1).all()


def test_delays_count_from_the_true_onset_to_the_frame_that_confirms():
    pts_T = np.arange(40) / FPS
    truth = [Stretch(0, 0.0, 1.0), Stretch(1, 1.0, 2.0), Stretch(2, 2.0, 3.9)]
    said = [Stretch(0, 0.0, 1.2), Stretch(1, 1.2, 2.0), Stretch(0, 2.0, 3.9)]
    assert onset_delays(said, truth, pts_T, 3) == pytest.approx([0.5])


def test_the_search_finds_a_filter_better_than_the_outputs():
    examples = [in_turn(seed) for seed in (3, 4)]
    logits = [noisy(example, seed) for seed, example in enumerate(examples)]
    chain = fit_chain([in_turn(seed) for seed in range(3)], num_phases=3)
    found, curve = search_filter(
        chain, plain(), examples, logits, analysis_fps=FPS, max_lag_frames=4
    )
    raw = delay_curve(examples, [outputs.argmax(axis=1)[None] for outputs in logits])[0]
    assert [point.lag_frames for point in curve] == [0, 1, 2, 3, 4]
    assert raw.edit < 0.3
    assert curve[found.lag_frames].edit > 0.9
    assert curve[found.lag_frames].f1_at_50 > raw.f1_at_50 + 0.5
    assert found.transition_PP == chain.transition_PP


def point(lag, score):
    return DelayPoint(
        lag_frames=lag, onset_delay_seconds=0.1 * lag, accuracy=score, edit=score,
        f1_at_10=score, f1_at_25=score, f1_at_50=score,
    )  # fmt: skip


def test_the_lag_is_the_shortest_that_is_good_enough():
    curve = [point(lag, score) for lag, score in enumerate((0.5, 0.7, 0.798, 0.8, 0.79))]
    assert shortest_lag(curve) == 2


def test_tuning_takes_the_filter_where_it_helps_and_draws_its_curve(tmp_path):
    examples = [in_turn(seed) for seed in (3, 4)]
    logits = [noisy(example, seed, wrong=0.6) for seed, example in enumerate(examples)]
    tuning = tune(
        examples,
        logits,
        train=[in_turn(seed) for seed in range(3)],
        labels=LABELS,
        analysis_fps=FPS,
        max_lag_frames=3,
    )
    assert tuning.decoder.phase_filter is not None
    assert tuning.decoder.phase_filter.lag_frames <= 3
    assert len(tuning.curve) == 4
    plot_delay_f1(tmp_path / "delay_f1.png", tuning.curve)
    assert (tmp_path / "delay_f1.png").read_bytes().startswith(b"\x89PNG")
