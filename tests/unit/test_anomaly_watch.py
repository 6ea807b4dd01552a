"""The watch for anomalies on hand-written scores: what it says, when, and about which moment."""

from __future__ import annotations

import math
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.event import EndReason, EventType, Status
from streamer.core.state import AnomalyState
from streamer.models.anomaly import AnomalyConfig
from streamer.stages.anomaly import AnomalyWatch, close_anomaly

LOW, HIGH = 1.0, 3.0
CONFIG = AnomalyConfig(
    smoothing_seconds=0.0,
    enter=2.0,
    exit=1.5,
    ceiling=4.0,
    tail_scale=0.1,
    min_on_seconds=0.3,
    min_off_seconds=0.3,
    warmup_seconds=0.0,
    false_alarms_per_hour=1.0,
)


def moment(t):
    return (t, t * 10**8, t * 0.1)


def watch(scores, **changes):
    """The decisions, each with the frame it was made at, and the state after the last."""
    made = AnomalyWatch(msgspec.structs.replace(CONFIG, **changes), analysis_fps=10.0)
    state, said = AnomalyState(), []
    for t, score in enumerate(scores):
        state, decisions = made.decide(state, score, at=moment(t), step_seconds=0.1)
        said += [(t, decision) for decision in decisions]
    return said, state


def test_an_anomaly_is_announced_at_once_confirmed_later_and_ended():
    said, state = watch([LOW] * 5 + [HIGH] * 10 + [LOW] * 6)
    (t0, started), (t1, confirmed), (t2, ended) = said
    assert (t0, t1, t2) == (5, 8, 18)
    assert [d.type for _, d in said] == [
        EventType.ANOMALY_START,
        EventType.ANOMALY_START,
        EventType.ANOMALY_END,
    ]
    assert [d.status for _, d in said] == [
        Status.PROVISIONAL,
        Status.CONFIRMED,
        Status.CONFIRMED,
    ]
    assert [d.segment.revision for _, d in said] == [0, 1, 2]
    assert {d.segment.start_seq for _, d in said} == {5}
    assert confirmed.decision_delay_seconds == pytest.approx(0.3)
    assert (ended.end, ended.end_reason) == (moment(15), EndReason.EXIT)
    assert ended.decision_delay_seconds == pytest.approx(0.3)
    assert started.score == ended.score == HIGH
    assert state.segment is None


def test_what_does_not_last_is_retracted():
    said, _ = watch([LOW] * 5 + [HIGH] * 2 + [LOW] * 5)
    assert [d.status for _, d in said] == [Status.PROVISIONAL, Status.RETRACTED]
    assert said[1][1].end_reason is EndReason.RETRACTED


def test_a_short_lull_does_not_end_it():
    said, state = watch([HIGH] * 6 + [LOW] * 2 + [HIGH] * 6)
    assert [d.type for _, d in said] == [EventType.ANOMALY_START] * 2
    assert state.segment.below is None


def test_between_the_thresholds_nothing_begins_and_nothing_ends():
    assert not watch([1.8] * 20)[0]
    said, state = watch([HIGH] * 6 + [1.8] * 20)
    assert len(said) == 2
    assert state.segment is not None


def test_smoothing_delays_but_the_start_is_where_the_score_rose():
    said, _ = watch([LOW] * 10 + [HIGH] * 20, smoothing_seconds=0.5)
    t, first = said[0]
    # 1 + 2 (1 - exp(-t / 0.5)) reaches 2 after 0.5 ln 2 = 0.35 s.
    assert t == 13
    assert first.segment.start_seq == 10


@pytest.mark.parametrize("strange", [1e30, math.inf, math.nan])
def test_one_frame_alone_however_strange_raises_no_alarm(strange):
    assert not watch([LOW] * 10 + [strange] + [LOW] * 10, smoothing_seconds=0.5)[0]
    said, _ = watch([LOW] * 10 + [strange] * 20 + [LOW] * 30, smoothing_seconds=0.5)
    assert [d.type for _, d in said][-1] is EventType.ANOMALY_END
    assert said[-1][1].score < CONFIG.ceiling
    # From the ceiling 4 down to 1.5: 0.5 ln 6 = 0.9 s.
    assert said[-1][1].end[0] <= 30 + 9


def test_a_frame_after_a_gap_counts_for_two_periods_at_most():
    made = AnomalyWatch(msgspec.structs.replace(CONFIG, smoothing_seconds=0.5), analysis_fps=10.0)
    state, _ = made.decide(AnomalyState(), LOW, at=moment(0), step_seconds=0.0)
    state, said = made.decide(state, 1e9, at=moment(9), step_seconds=0.9)
    assert not said
    assert state.smoothed == pytest.approx(LOW + 3 * (1 - math.exp(-0.2 / 0.5)))


def test_nothing_is_announced_while_the_model_warms_up():
    said, _ = watch([HIGH] * 10 + [LOW] * 20, warmup_seconds=2.0)
    assert not said
    said, _ = watch([HIGH] * 30, warmup_seconds=2.0)
    assert said[0][0] == 20


def test_the_end_carries_the_peak():
    said, _ = watch([LOW] * 5 + [2.5] * 5 + [3.5] * 3 + [2.5] * 5 + [LOW] * 5)
    assert said[-1][1].score == 3.5
    assert said[-1][1].confidence == CONFIG.confidence(3.5)


def test_closing_ends_what_is_confirmed_and_takes_back_what_is_not():
    for frames, status in ((6, Status.CONFIRMED), (2, Status.RETRACTED)):
        _, state = watch([HIGH] * frames)
        (ended,) = close_anomaly(state, at=moment(frames - 1), reason=EndReason.GAP)
        assert ended.status is status
        reason = EndReason.GAP if status is Status.CONFIRMED else EndReason.RETRACTED
        assert ended.end_reason is reason
    assert close_anomaly(AnomalyState(), at=moment(0), reason=EndReason.GAP) == []
    assert close_anomaly(None, at=moment(0), reason=EndReason.GAP) == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([LOW, 1.5, 1.8, 2.0, HIGH, 9.0]), max_size=60),
    st.sampled_from([0.0, 0.2]),
)
def test_every_start_has_its_end_and_no_two_begin_at_one_frame(scores, smoothing_seconds):
    said, state = watch(scores, smoothing_seconds=smoothing_seconds)
    last = moment(max(0, len(scores) - 1))
    decisions = [d for _, d in said] + close_anomaly(state, at=last, reason=EndReason.GAP)
    ends = [d for d in decisions if d.type is EventType.ANOMALY_END]
    starts = [d for d in decisions if d.type is EventType.ANOMALY_START]
    first = [d for d in starts if d.segment.revision == 0]
    assert [d.segment.start_seq for d in first] == [d.segment.start_seq for d in ends]
    assert all(a.segment.start_seq < b.segment.start_seq for a, b in pairwise(first))
    keys = [(d.type, d.segment.start_seq, d.segment.revision) for d in decisions]
    assert len(set(keys)) == len(keys)
    assert all(d.end[0] >= d.segment.start_seq for d in ends)


def test_confidence_is_a_half_at_the_threshold_and_grows_by_odds_of_e_per_tail_scale():
    assert CONFIG.confidence(2.0) == 0.5
    sure = CONFIG.confidence(2.1)
    assert sure / (1 - sure) == pytest.approx(math.e)
    assert 0 <= CONFIG.confidence(-1e9) < 1e-6
    assert CONFIG.confidence(1e9) == 1.0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"exit": 2.5}, "exit <= enter < ceiling"),
        ({"ceiling": 2.0}, "exit <= enter < ceiling"),
        ({"tail_scale": 0.0}, "tail_scale"),
        ({"min_on_seconds": -1.0}, "min_on_seconds"),
    ],
)
def test_thresholds_that_can_not_be(changes, told):
    fields = msgspec.structs.asdict(CONFIG) | changes
    with pytest.raises(ValueError, match=told):
        AnomalyConfig(**fields)
