"""The filter against sums over every path, and what must hold whatever it sees."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamer.core.event import EndReason, EventType, Status
from streamer.core.state import StreamState
from streamer.models.phase_filter import PhaseFilterConfig
from streamer.stages.decode import Decoder
from streamer.stages.filtered import is_live
from streamer.stages.phase_filter import PhaseFilter
from streamer.stages.sojourn import PhaseChain
from streamer.transport.state_codec import decode_state, encode_state
from tests.models import decoder_config

FPS = 10.0


def filter_config(lag=2, **changes):
    fields = {
        "initial_P": (0.6, 0.3, 0.1),
        "transition_PP": ((0.0, 0.8, 0.2), (0.3, 0.0, 0.7), (1.0, 0.0, 0.0)),
        "mean_seconds_P": (0.5, 0.3, 0.4),
        "stages_P": (2, 1, 2),
        "prior_P": (0.5, 0.3, 0.2),
        "prior_exponent": 0.5,
        "evidence_weight": 0.7,
        "lag_frames": lag,
    }
    return PhaseFilterConfig(**(fields | changes))


rows = st.lists(
    st.tuples(*[st.floats(0.01, 1.0)] * 3, st.sampled_from([0.0, 0.05, 0.1, 0.37])),
    min_size=1,
    max_size=5,
)


def passed(config, frames):
    """(state, window's probabilities) after each frame."""
    made = PhaseFilter(config, analysis_fps=FPS)
    state, pts, seen = made.initial(), 0.0, []
    for seq, (*weights, step) in enumerate(frames):
        pts += step
        chances_P = (np.array(weights) / sum(weights)).astype(np.float32)
        state, window_WP = made.advance(state, chances_P, at=(seq, seq, pts))
        seen.append((state, window_WP))
    return made, seen


def by_every_path(config, frames):
    """float64 (T, P): probability of each phase at each frame given all, by summing over paths."""
    chain = PhaseChain(config, period_seconds=1 / FPS)
    likelihoods = []
    for *weights, _ in frames:
        chances = (np.array(weights) / sum(weights)).astype(np.float32).astype(float)
        likelihoods.append((chances / np.array(config.prior_P) ** 0.5) ** 0.7)
    pts = np.cumsum([step for *_, step in frames])
    total = np.zeros((len(frames), 3))
    for path in itertools.product(range(len(chain.phase_S)), repeat=len(frames)):
        weight = chain.initial_S[path[0]]
        for t, stage in enumerate(path):
            if t:
                weight *= chain.step(float(pts[t] - pts[t - 1]))[path[t - 1], stage]
            weight *= likelihoods[t][chain.phase_S[stage]]
        for t, stage in enumerate(path):
            total[t, chain.phase_S[stage]] += weight
    return total / total.sum(axis=1, keepdims=True)


@settings(max_examples=25, deadline=None)
@given(rows, st.integers(0, 4))
def test_filter_and_smoother_sum_over_all_paths(frames, lag):
    config = filter_config(lag)
    made, seen = passed(config, frames)
    for end, (state, window_WP) in enumerate(seen, start=1):
        expected_TP = by_every_path(config, frames[:end])
        np.testing.assert_allclose(window_WP, expected_TP[-len(window_WP) :], atol=1e-5)
        assert len(window_WP) == min(end, lag + 1)
        assert made.is_full(state) == (end > lag)
        assert made.misfit(state) == ""


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(*[st.floats(0.0, 1.0)] * 3, st.floats(0.0, 90.0)).filter(lambda f: sum(f[:3])),
        min_size=1,
        max_size=60,
    )
)
def test_probabilities_add_up_to_one(frames):
    _, seen = passed(filter_config(3, evidence_weight=4.0, prior_exponent=1.0), frames)
    for _, window_WP in seen:
        assert (window_WP >= 0).all()
        np.testing.assert_allclose(window_WP.sum(axis=1), 1, rtol=1e-9)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_without_memory_the_filter_is_the_likelihood(frames):
    third = 1 / 3
    config = filter_config(
        initial_P=(third,) * 3,
        transition_PP=((0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)),
        mean_seconds_P=(1e-5,) * 3,
        stages_P=(1, 1, 1),
        prior_exponent=0.0,
        evidence_weight=1.0,
    )
    frames = [(*weights, 0.1) for *weights, _ in frames]
    _, seen = passed(config, frames)
    for (*weights, _), (_, window_WP) in zip(frames, seen, strict=True):
        np.testing.assert_allclose(window_WP[-1], np.array(weights) / sum(weights), atol=1e-5)


# The decoder around it.


def decoder(lag=2, **changes):
    made = decoder_config(phase_filter=filter_config(lag, **changes), enter_C=(0.4,) * 5)
    return Decoder(made, num_phases=3, num_actions=2, analysis_fps=FPS)


logit_rows = st.lists(
    st.tuples(
        *[st.sampled_from([-4.0, 0.0, 4.0]) | st.floats(-4, 4)] * 5,
        st.sampled_from([0.0, 0.1, 0.25]),
    ),
    min_size=1,
    max_size=50,
)


def decode(made, state, frames, *, seq=0, pts=0.0):
    decisions = []
    for *logits, step in frames:
        pts += step
        at = (seq, seq * 10**8, pts)
        row = np.array(logits, np.float32)
        state, said = made.decode(state, row, at=at, step_seconds=step)
        decisions += said
        seq += 1
    return state, decisions, (seq, pts)


def stored(state):
    """Through the codec and back."""
    hidden = np.zeros((1, 1), np.float32)
    whole = StreamState(
        stream_id="cam", model_id="m", encoder_id="e", row=0,
        hidden_LH=hidden, cell_LH=hidden, decoder=state,
    )  # fmt: skip
    raw = encode_state(whole)
    assert encode_state(decode_state(raw)) == raw
    return decode_state(raw).decoder, raw


@settings(max_examples=80, deadline=None)
@given(logit_rows, st.integers(0, 50), st.integers(0, 6))
def test_storing_the_state_at_any_frame_changes_nothing(frames, cut, lag):
    made = decoder(lag)
    through, said, _ = decode(made, made.initial(), frames)
    state, first, (seq, pts) = decode(made, made.initial(), frames[:cut])
    state, _ = stored(state)
    again = decoder(lag)
    state, rest, _ = decode(again, state, frames[cut:], seq=seq, pts=pts)
    assert first + rest == said
    assert stored(state)[1] == stored(through)[1]


FORTH_AND_BACK = [
    (-4.0, 0.0, -4.0, 0.0, -4.0, 0.0),
    (4.0, -4.0, 4.0, 4.0, 0.0, 0.1),
    (4.0, 0.0, 4.0, -4.0, 4.0, 0.25),
    (0.0, 4.0, -4.0, -4.0, -4.0, 0.25),
    (4.0, -4.0, 4.0, 0.0, -4.0, 0.1),
    (-4.0, 4.0, -4.0, -4.0, 0.0, 0.0),
    (4.0, -4.0, -4.0, 0.0, 0.0, 0.1),
    (4.0, 0.0, -4.0, 0.0, 0.0, 0.0),
    (0.0, -4.0, 0.0, -4.0, 4.0, 0.1),
    (-4.0, -4.0, -4.0, 4.0, -4.0, 0.1),
    (4.0, 4.0, -4.0, 4.0, 0.0, 0.0),
]
"""A phase is confirmed elsewhere than it was announced, then announced there once more."""


@settings(max_examples=150, deadline=None)
@example(FORTH_AND_BACK, 5)
@given(logit_rows, st.integers(0, 6))
def test_every_announcement_is_settled_once_and_no_event_comes_twice(frames, lag):
    made = decoder(lag)
    state, decisions, (seq, pts) = decode(made, made.initial(), frames)
    assert len(state.filter.announced) <= 2 * (lag + 1)
    last = (seq - 1, (seq - 1) * 10**8, pts)
    closed, closing = made.close(state, at=last, reason=EndReason.STREAM_ENDED)
    phases = [d for d in decisions + closing if d.type is EventType.PHASE_TRANSITION]
    ids = [(d.label, d.segment.start_seq, d.segment.revision) for d in phases]
    assert len(set(ids)) == len(ids)
    pending: list[tuple[int, int]] = []  # label, start
    current, start = None, -1
    for d in phases:
        assert 0 <= d.confidence <= 1
        assert d.decision_delay_seconds >= 0
        if d.status is Status.PROVISIONAL:
            assert (pending[-1][0] if pending else current) != d.label
            pending.append((d.label, d.segment.start_seq))
        elif d.status is Status.RETRACTED:
            pending.remove((d.label, d.segment.start_seq))
        else:
            left = None if d.previous is None else d.previous[0].label
            assert left == current != d.label
            assert d.segment.start_seq > start
            current, start = d.label, d.segment.start_seq
            own = [word for word in pending if word[0] == d.label]
            if own:
                exact = (d.label, d.segment.start_seq)
                pending.remove(exact if exact in own else own[0])
    assert (pending, current) == ([], None)
    assert stored(closed)[1] == stored(made.initial())[1]


@settings(max_examples=80, deadline=None)
@given(logit_rows, st.integers(0, 6))
def test_confirmed_boundaries_are_those_of_the_smoothed_sequence(frames, lag):
    made = decoder(lag, smoothing_seconds=0.1)
    _, decisions, _ = decode(made, made.initial(), frames)
    said = [(d.segment.start_seq, d.label) for d in decisions if d.status is Status.CONFIRMED
            and d.type is EventType.PHASE_TRANSITION]  # fmt: skip
    state, pts, path = made.initial(), 0.0, []
    alone = PhaseFilter(filter_config(lag, smoothing_seconds=0.1), analysis_fps=FPS)
    filtered = alone.initial()
    for seq, (*logits, step) in enumerate(frames):
        pts += step
        at = (seq, seq * 10**8, pts)
        state, _ = made.decode(state, np.array(logits, np.float32), at=at, step_seconds=step)
        filtered, window_WP = alone.advance(
            filtered, state.smoothed_C[:3], at=at, confirmed=path[-1] if path else None
        )
        if seq >= lag:
            path.append(int(window_WP[0].argmax()))
    changes = [(t, label) for t, label in enumerate(path) if not t or path[t - 1] != label]
    assert said == changes


def sure(phase):
    return (*(6.0 if phase == p else -6.0 for p in range(3)), -6.0, -6.0, 0.1)


def test_a_phase_is_announced_at_lag_0_and_confirmed_at_the_lag():
    made = decoder(lag=3)
    _, decisions, _ = decode(made, made.initial(), [sure(0)] * 6 + [sure(1)] * 6)
    assert [(d.label, d.status, d.segment.start_seq, d.segment.revision) for d in decisions] == [
        (0, Status.PROVISIONAL, 0, 0),
        (0, Status.CONFIRMED, 0, 1),
        (1, Status.PROVISIONAL, 6, 0),
        (1, Status.CONFIRMED, 6, 1),
    ]
    assert [d.decision_delay_seconds for d in decisions] == pytest.approx([0, 0.3, 0, 0.3])
    assert decisions[3].previous[0].label == 0


def test_a_flicker_is_taken_back_before_it_is_confirmed():
    made = decoder(lag=3, mean_seconds_P=(5.0, 5.0, 5.0))
    weak = (0.0, 3.5, 0.0, -6.0, -6.0, 0.1)
    _, decisions, _ = decode(made, made.initial(), [sure(0)] * 6 + [weak] * 2 + [sure(0)] * 6)
    told = [(d.label, d.status) for d in decisions]
    assert (1, Status.CONFIRMED) not in told
    assert told.count((1, Status.PROVISIONAL)) == told.count((1, Status.RETRACTED)) <= 1


def test_a_transition_that_the_graph_forbids_is_never_confirmed():
    chain = ((0, 1.0, 0), (0, 0, 1.0), (0, 0, 0))
    made = decoder(lag=2, transition_PP=chain, initial_P=(1.0, 0, 0))
    frames = [sure(0)] * 8 + [sure(1)] * 8 + [sure(0)] * 8 + [sure(2)] * 8
    _, decisions, _ = decode(made, made.initial(), frames)
    assert [d.label for d in decisions if d.status is Status.CONFIRMED] == [0, 1, 2]


edges = st.lists(st.booleans(), min_size=12, max_size=12)
scripted = st.lists(
    st.tuples(
        *[st.sampled_from([-6.0, 0.0, 6.0])] * 4,
        st.sampled_from([0.0, 0.1, 0.1, 0.1, 0.7, 30.0, 1e4]),
    ),
    min_size=1,
    max_size=40,
)


def graph_decoder(allowed, lag, *, seconds=0.2):
    """Four phases that last about as long as two frames, with some of the 12 transitions."""
    chain_PP = np.zeros((4, 4))
    chain_PP[~np.eye(4, dtype=bool)] = allowed
    chain_PP /= np.maximum(chain_PP.sum(axis=1, keepdims=True), 1)
    config = filter_config(
        lag,
        initial_P=(0.25,) * 4,
        transition_PP=tuple(map(tuple, chain_PP.tolist())),
        mean_seconds_P=(seconds,) * 4,
        stages_P=(2, 1, 2, 1),
        prior_P=(0.25,) * 4,
        evidence_weight=1.0,
    )
    made = decoder_config(
        phase_filter=config, **dict.fromkeys(("enter_C", "exit_C"), (0.4,) * 4),
        **dict.fromkeys(("min_on_seconds_C", "min_off_seconds_C"), (0.0,) * 4),
    )  # fmt: skip
    return Decoder(made, num_phases=4, num_actions=0, analysis_fps=FPS), chain_PP > 0


def confirmed_labels(made, frames):
    _, decisions, _ = decode(made, made.initial(), frames)
    return [d.label for d in decisions if d.status is Status.CONFIRMED]


# 0 → 1 → 2 alone; phase 1 is gone within a frame.
@example(
    [k in (0, 4) for k in range(12)],
    [(6.0, -6.0, -6.0, -6.0, 0.1)] * 3 + [(-6.0, -6.0, 6.0, -6.0, 0.7)] * 4,
    1,
)
@settings(max_examples=200, deadline=None)
@given(edges, scripted, st.integers(0, 4))
def test_confirmed_phases_never_take_a_transition_that_is_forbidden(allowed, frames, lag):
    made, allowed_PP = graph_decoder(allowed, lag)
    said = confirmed_labels(made, frames)
    assert all(allowed_PP[before, after] for before, after in itertools.pairwise(said))
    assert bool(said) == (len(frames) > lag)


def test_a_way_through_a_phase_that_is_hardly_seen_is_found():
    made, _ = graph_decoder([k in (0, 4, 8) for k in range(12)], 3, seconds=1.0)
    frames = [(6.0, -6.0, -6.0, -6.0, 0.1)] * 10 + [(-6.0, -6.0, -6.0, 6.0, 0.1)] * 20
    assert confirmed_labels(made, frames) == [0, 1, 2, 3]


def test_a_state_that_is_not_this_decoders_is_told():
    made, plain = decoder(lag=2), Decoder(decoder_config(), num_phases=3, num_actions=2,
                                          analysis_fps=FPS)  # fmt: skip
    assert made.misfit(made.initial()) == plain.misfit(plain.initial()) == ""
    assert "found none" in made.misfit(plain.initial())
    assert "found one" in plain.misfit(made.initial())
    longer, _, _ = decode(decoder(lag=4), made.initial(), [sure(0)] * 5)
    assert "at most 3 frames" in made.misfit(longer)
    other = replace(longer.filter, forward_S=np.zeros(4))
    assert "(stages, phases)" in made.misfit(replace(longer, filter=other))
    assert all(is_live(segment) for segment in longer.filter.announced)


def test_states_without_a_filter_keep_their_version():
    plain = Decoder(decoder_config(), num_phases=3, num_actions=2, analysis_fps=FPS)
    assert b"state/1" in stored(plain.initial())[1]
    assert b"state/2" in stored(decoder().initial())[1]
