"""The decoder on hand-written outputs: what it says, when, and about which moment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.event import EndReason, EventType, Status
from streamer.stages.decode import Decoder
from tests.models import decoder_config

SURE = 6.0


def decoder(**changes):
    return Decoder(decoder_config(**changes), num_phases=3, num_actions=2, analysis_fps=10.0)


def logits(phase, *actions):
    """Certain of one phase, and of these actions."""
    row = np.full(5, -SURE, np.float32)
    row[phase] = SURE
    for action in actions:
        row[3 + action] = SURE
    return row


def run(decoder, rows):
    """Decisions per frame, at 10 frames a second."""
    state = decoder.initial()
    made = []
    for seq, row in enumerate(rows):
        at = (seq, seq * 100_000_000, seq / 10)
        state, decisions = decoder.decode(state, row, at=at, step_seconds=0.1 if seq else 0.0)
        made += [(seq, decision) for decision in decisions]
    return state, made


def brief(made):
    return [(seq, d.type.split(".", 1)[1], d.label, d.status.value) for seq, d in made]


def test_a_phase_is_provisional_at_once_and_confirmed_when_it_has_lasted():
    _, made = run(decoder(), [logits(0)] * 6)
    assert brief(made) == [
        (0, "phase.transition", 0, "provisional"),
        (3, "phase.transition", 0, "confirmed"),
    ]
    assert [d.segment.revision for _, d in made] == [0, 1]
    assert [d.segment.start_seq for _, d in made] == [0, 0]
    assert made[1][1].decision_delay_seconds == pytest.approx(0.3)


def test_a_transition_names_the_phase_it_leaves_and_where_it_ended():
    _, made = run(decoder(), [logits(0)] * 6 + [logits(1)] * 6)
    (previous, end, reason) = made[-1][1].previous
    assert (previous.label, previous.start_seq, end[0], reason) == (0, 0, 6, EndReason.NEXT_PHASE)


def test_a_flicker_is_retracted():
    rows = [logits(0)] * 6 + [logits(1)] * 2 + [logits(0)] * 6
    _, made = run(decoder(), rows)
    assert brief(made)[2:] == [
        (6, "phase.transition", 1, "provisional"),
        (8, "phase.transition", 1, "retracted"),
    ]
    assert made[3][1].end_reason is EndReason.RETRACTED


def test_nothing_is_said_between_the_thresholds():
    unsure = np.array([0.4, 0.3, 0.2, -SURE, -SURE], np.float32)
    _, made = run(decoder(), [unsure] * 10)
    assert made == []


def test_the_start_is_where_the_probability_rose_not_where_it_was_noticed():
    smooth = decoder(smoothing_seconds=0.5)
    _, made = run(smooth, [logits(0)] * 10 + [logits(1)] * 20)
    at, first = next((seq, d) for seq, d in made if d.label == 1)
    assert at > 10
    assert first.segment.start_seq == 10
    assert first.decision_delay_seconds == pytest.approx((at - 10) / 10)


def test_an_action_starts_is_confirmed_and_ends_where_it_fell():
    rows = [logits(0, 1)] * 6 + [logits(0)] * 6
    _, made = run(decoder(), rows)
    actions = [(seq, d) for seq, d in made if d.type is not EventType.PHASE_TRANSITION]
    assert brief(actions) == [
        (0, "action.start", 4, "provisional"),
        (3, "action.update", 4, "confirmed"),
        (9, "action.end", 4, "confirmed"),
    ]
    end = actions[-1][1]
    assert (end.end[0], end.end_reason, end.segment.revision) == (6, EndReason.EXIT, 2)
    assert end.decision_delay_seconds == pytest.approx(0.3)


def test_a_short_break_does_not_end_an_action():
    rows = [logits(0, 0)] * 6 + [logits(0)] * 2 + [logits(0, 0)] * 6
    state, made = run(decoder(), rows)
    kinds = [d.type for _, d in made if d.type is not EventType.PHASE_TRANSITION]
    assert kinds == [EventType.ACTION_START, EventType.ACTION_UPDATE]
    assert [segment.below for segment in state.actions] == [None]


def test_an_action_too_short_to_be_one_is_retracted():
    _, made = run(decoder(), [logits(0, 0)] * 2 + [logits(0)] * 3)
    ends = [d for _, d in made if d.type is EventType.ACTION_END]
    assert [(d.status, d.end_reason) for d in ends] == [(Status.RETRACTED, EndReason.RETRACTED)]


def test_closing_ends_all_that_is_open():
    made_by = decoder()
    state, _ = run(made_by, [logits(2, 0, 1)] * 8)
    state, made = made_by.close(state, at=(7, 700_000_000, 0.7), reason=EndReason.STREAM_ENDED)
    assert [(d.type, d.label) for d in made] == [
        (EventType.PHASE_TRANSITION, None),
        (EventType.ACTION_END, 3),
        (EventType.ACTION_END, 4),
    ]
    assert made[0].previous[0].label == 2
    assert {d.end_reason for d in made[1:]} == {EndReason.STREAM_ENDED}
    assert state.phase is None
    assert state.actions == ()


def test_temperature_softens_confidence():
    _, sharp = run(decoder(), [logits(0)] * 5)
    _, soft = run(decoder(phase_temperature=4.0), [logits(0)] * 5)
    assert sharp[0][1].confidence > 0.999
    assert 0.6 < soft[0][1].confidence < 0.95


def test_probabilities_are_softmax_and_sigmoid():
    row = np.array([1.0, 2.0, 3.0, 0.0, 1000.0], np.float32)
    p = decoder().probabilities(row)
    np.testing.assert_allclose(p[:3].sum(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(p[:3], np.exp(row[:3]) / np.exp(row[:3]).sum(), rtol=1e-6)
    np.testing.assert_allclose(p[3:], [0.5, 1.0])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.booleans(), st.floats(0.1, 6.0)),
        min_size=1,
        max_size=80,
    ),
    st.sampled_from([0.0, 0.2, 1.0]),
)
def test_every_start_gets_its_end_and_time_never_runs_backwards(frames, smoothing_seconds):
    made_by = decoder(smoothing_seconds=smoothing_seconds)
    rows = []
    for phase, lamp, door, certainty in frames:
        row = np.full(5, -certainty, np.float32)
        row[phase] = certainty
        row[3], row[4] = (certainty if lamp else -certainty), (certainty if door else -certainty)
        rows.append(row)
    state, made = run(made_by, rows)
    last = (len(rows) - 1, (len(rows) - 1) * 100_000_000, (len(rows) - 1) / 10)
    _, closing = made_by.close(state, at=last, reason=EndReason.STREAM_ENDED)
    decisions = [d for _, d in made] + closing
    open_actions: dict[int, int] = {}
    open_phase = None
    phase_starts = []
    for d in decisions:
        assert 0 <= d.confidence <= 1
        assert d.decision_delay_seconds >= 0
        if d.end is not None:
            assert d.end[0] >= d.segment.start_seq
        if d.type is EventType.ACTION_START:
            assert d.label not in open_actions
            open_actions[d.label] = d.segment.start_seq
        elif d.type is EventType.ACTION_END:
            assert open_actions.pop(d.label) == d.segment.start_seq
        elif d.type is EventType.PHASE_TRANSITION and d.status is Status.CONFIRMED:
            assert (open_phase is None) == (d.previous is None)
            if d.previous is not None:
                assert d.previous[0].label == open_phase
            open_phase = d.label
            phase_starts.append(d.segment.start_seq)
    assert open_actions == {}
    assert open_phase is None
    assert phase_starts == sorted(set(phase_starts))
