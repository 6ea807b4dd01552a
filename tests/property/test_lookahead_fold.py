"""A model that looks ahead, in the fold: the delay is fixed, nothing waits for ever, bits hold."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.clock import Mark
from streamer.core.errors import StateError
from streamer.core.event import EventType, GapPolicy, decode_event, encode_event
from streamer.core.feature import StreamStatus
from streamer.core.state import Checkpoint, LookaheadState
from streamer.models.config import GapConfig
from streamer.stages.reset import change_model
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import encode_input
from streamer.transport.state_codec import decode_state, encode_state
from streamer.transport.transport import LogEntry, Unreadable
from tests.models import AheadModel, LeakyModel, bundle, features_of
from tests.samples import START_NS, STEP_NS, chunk, note

AHEAD = 3
TAKEN = Mark("test", 10**12)
ENDED = {"status": StreamStatus.ENDED, "reason": "end_of_file", "note_seq": 1}


def stage(ahead=AHEAD, *, rows=4, **changes):
    return TemporalStage(bundle(lookahead_frames=ahead, **changes), AheadModel(rows, ahead))


def entry(item):
    return LogEntry(item.entry_us, encode_input(item), item)


def end(num_frames):
    return entry(note(entry_us=(START_NS + num_frames * STEP_NS) // 1000, **ENDED))


def rows_of(labels):
    return np.array([features_of(phase, *actions) for phase, actions in labels])


def story(labels, stream_id="cam", cuts=(), *, ends=True):
    """Entries of one stream: a frame per (phase, actions), cut into chunks before `cuts`."""
    rows = rows_of(labels)
    edges = sorted({0, len(rows), *(cut for cut in cuts if 0 < cut < len(rows))})
    entries = [
        entry(chunk(stream_id, a, length=b - a, features=rows[a:b]))
        for a, b in itertools.pairwise(edges)
    ]
    return [*entries, end(len(rows))] if ends and stream_id == "cam" else entries


def fold(stage, checkpoint, entries, *, taken=TAKEN):
    (advanced,) = stage.advance([(checkpoint, entries)], taken=taken)
    return advanced


def said(events):
    """What subscribers see, without when it was computed."""
    return [
        (e.id, e.type, e.sequence, e.time, getattr(e.data, "label", None), e.data.frame,
         getattr(e.data, "confidence", None), getattr(e.data, "segment", None),
         getattr(e.data, "decision_delay_seconds", None))
        for e in events
    ]  # fmt: skip


def decided(advanced):
    return [e for e in advanced.events if hasattr(e.data, "decision_delay_seconds")]


def events_of(advanced, type_):
    return [event for event in advanced.events if event.type is type_]


labels = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.integers(0, 1)).map(tuple)), min_size=1, max_size=30
)
aheads = st.integers(1, 5)
SOME = [(0, ())] * 6 + [(1, (0,))] * 9 + [(2, ())] * 5


class Told:
    """A model of one direction that says what it was told for each frame, in order."""

    rows, num_layers, hidden_dim, feature_dim, num_classes = 4, 1, 5, 5, 5

    def __init__(self, logits_TC):
        self._logits = iter(logits_TC)

    def step(self, features_BD, hidden_LBH, cell_LBH):
        outputs_BC = np.zeros((self.rows, 5), np.float32)
        outputs_BC[:] = next(self._logits)
        return outputs_BC, hidden_LBH.copy(), cell_LBH.copy()


def logits_of(features_TD, ahead):
    """`AheadModel` over the whole recording."""
    hidden, logits = np.zeros(5), []
    for t, row in enumerate(features_TD):
        hidden = (hidden + 3 * row) / 4
        later = features_TD[t + 1 : t + 1 + ahead]
        heard = sum((8 * f * 0.5**k for k, f in enumerate(later, 1)), np.zeros(5))
        logits.append(8 * hidden + heard)
    return np.array(logits, np.float32)


@settings(max_examples=60, deadline=None)
@given(labels, aheads)
def test_events_are_those_of_the_outputs_over_the_whole_recording(labels, ahead):
    made = stage(ahead)
    online = decided(fold(made, made.initial("cam", row=1), story(labels)))
    told = TemporalStage(bundle(), Told(logits_of(rows_of(labels), ahead)))
    offline = decided(fold(told, told.initial("cam", row=1), story(labels)))
    for one, other in zip(online, offline, strict=True):
        assert (one.type, one.data.label, one.data.status) == (
            other.type,
            other.data.label,
            other.data.status,
        )
        assert (one.data.frame, one.data.segment) == (other.data.frame, other.data.segment)
        assert one.data.confidence == pytest.approx(other.data.confidence, abs=1e-5)


@settings(max_examples=60, deadline=None)
@given(labels, aheads, st.sets(st.integers(1, 29)))
def test_any_split_into_chunks_gives_the_result_of_one_pass(labels, ahead, cuts):
    made = stage(ahead)
    for ends in (False, True):
        whole = fold(made, made.initial("cam", row=1), story(labels, ends=ends))
        split = fold(made, made.initial("cam", row=1), story(labels, cuts=cuts, ends=ends))
        assert said(split.events) == said(whole.events)
        ours, theirs = split.after.state, whole.after.state
        assert ours.num_waiting == (0 if ends else min(ahead, len(labels)))
        # Chunks are ready when their last frame is: only that differs.
        assert [f.pts_seconds for f in ours.lookahead.frames] == [
            f.pts_seconds for f in theirs.lookahead.frames
        ]
        assert ours.lookahead.inputs_WP.tobytes() == theirs.lookahead.inputs_WP.tobytes()
        assert encode_state(replace(ours, lookahead=None)) == encode_state(
            replace(theirs, lookahead=None)
        )


@settings(max_examples=60, deadline=None)
@given(labels, aheads, st.lists(labels, max_size=6), st.integers(0, 3), st.integers(0, 20))
def test_batchmates_at_other_fills_change_nothing(mine, ahead, others, row, head_start):
    made = stage(ahead)
    entries = story(mine, cuts=range(30))
    alone = fold(made, made.initial("cam", row=row), entries)
    first = fold(made, made.initial("cam", row=row), entries[:head_start])
    work = [(first.after, entries[head_start:])]
    for number, other in enumerate(others):
        name = f"other{number}"
        work.append((made.initial(name, row=number % 4), story(other, name)))
    together = made.advance(work, taken=TAKEN)[0]
    assert said(first.events + together.events) == said(alone.events)
    assert encode_state(together.after.state) == encode_state(alone.after.state)


@settings(max_examples=60, deadline=None)
@given(labels, aheads, st.integers(0, 31))
def test_a_restart_in_the_middle_of_the_window_changes_nothing(labels, ahead, cut):
    made = stage(ahead)
    entries = story(labels, cuts=range(30))
    through = fold(made, made.initial("cam", row=2), entries)
    before = fold(made, made.initial("cam", row=2), entries[:cut])
    stored = decode_state(encode_state(before.after.state))
    again = stage(ahead)
    assert again.misfit(stored) == ""
    restored = Checkpoint(
        state=stored, position=before.after.position, version=before.after.version
    )
    after = fold(again, restored, entries[cut:])
    assert said(before.events + after.events) == said(through.events)
    assert [e.data.latency for e in before.events + after.events] == [
        e.data.latency for e in through.events
    ]
    assert after.after.version == through.after.version
    assert encode_state(after.after.state) == encode_state(through.after.state)


def test_a_frame_is_decided_when_the_last_it_looks_at_has_come():
    made = stage()
    checkpoint, counts = made.initial("cam", row=0), []
    for t, (phase, actions) in enumerate(SOME):
        rows = features_of(phase, *actions)[None]
        step = fold(made, checkpoint, [entry(chunk(first_seq=t, features=rows))])
        checkpoint = step.after
        assert {e.data.frame.seq for e in step.events} <= {t - AHEAD}
        counts.append((checkpoint.state.next_seq, checkpoint.state.num_waiting))
        assert checkpoint.state.cell_LH[0, 0] == max(0, t + 1 - AHEAD)
        assert len(step.frames) == 1
    assert counts == [(t + 1, min(t + 1, AHEAD)) for t in range(len(SOME))]


def test_an_event_has_the_times_of_its_frame_and_says_what_it_waited_for():
    made = stage()
    entries = []
    for t, (phase, actions) in enumerate(SOME):
        rows = features_of(phase, *actions)[None]
        ready = Mark("test", 10**11 + t * STEP_NS)
        entries.append(entry(chunk(first_seq=t, features=rows, ready=ready)))
    advanced = fold(made, made.initial("cam", row=0), entries)
    events = decided(advanced)
    assert len(events) > 3
    for event in events:
        data, seq = event.data, event.data.frame.seq
        assert data.timing.captured_ns == str(START_NS + seq * STEP_NS)
        assert data.frame.pts_seconds == pytest.approx(seq * 0.1)
        assert data.latency.lookahead_wait_seconds == pytest.approx(AHEAD * 0.1)
        newest_ready = (10**11 + (seq + AHEAD) * STEP_NS) * 1e-9
        assert data.latency.feature_wait_seconds == pytest.approx(1000 - newest_ready)
        # The machinery's sum has no part of the model's own hesitation, which has all of it.
        assert data.pipeline_seconds == pytest.approx(
            0.003 + data.latency.feature_wait_seconds, abs=1e-6
        )
        boundary = data.segment.end_pts_seconds or data.segment.start_pts_seconds
        told = (seq + AHEAD) * 0.1
        if data.segment.end_pts_seconds is None:
            assert data.decision_delay_seconds == pytest.approx(told - boundary)
        assert decode_event(encode_event(event)) == event


def test_without_a_look_ahead_an_event_has_no_word_of_it():
    made = TemporalStage(bundle(), LeakyModel())
    advanced = fold(made, made.initial("cam", row=0), story(SOME))
    assert all(b"lookahead" not in encode_event(event) for event in advanced.events)
    assert advanced.after.state.lookahead is None


def after_gap(made, item):
    """Eight frames, another phase and action in the last ones, and something that interrupts."""
    rows = np.array([features_of(0, 1)] * 6 + [features_of(2, 0)] * 2)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=8))])
    assert first.after.state.num_waiting == AHEAD
    return first, fold(made, first.after, [item])


def frame_at(seq, **changes):
    return entry(chunk(first_seq=seq, features=features_of(0)[None], **changes))


DECAY = GapConfig(hold_seconds=1.0, policy=GapPolicy.DECAY)


@pytest.mark.parametrize(
    ("gap", "item", "policy", "waiting"),
    [
        (None, frame_at(10), GapPolicy.HOLD, 1),
        (DECAY, frame_at(27), GapPolicy.DECAY, 1),
        (None, frame_at(30), GapPolicy.RESET, 1),
        (None, frame_at(0, epoch=2, entry_us=START_NS // 1000 + 10**7), GapPolicy.RESET, 1),
        (None, Unreadable("cam", START_NS // 1000 + 10**6, b"junk", "junk"), GapPolicy.HOLD, 0),
    ],
)
def test_the_look_ahead_does_not_reach_across_a_gap(gap, item, policy, waiting):
    made = stage(gap=gap)
    first, after = after_gap(made, item)
    (stated,) = events_of(after, EventType.STREAM_GAP)
    assert stated.data.policy is policy
    before = [e for e in after.events if e.number < stated.number]
    # All eight frames are decided as if the recording ended with them, or paused.
    status = StreamStatus.ENDED if policy is GapPolicy.RESET else StreamStatus.RECONNECTING
    pause = note(status=status, entry_us=(START_NS + 8 * STEP_NS) // 1000, note_seq=1)
    paused = decided(fold(made, first.after, [entry(pause)]))
    assert [(e.type, e.data.frame, e.data.confidence) for e in before] == [
        (e.type, e.data.frame, e.data.confidence) for e in paused
    ]
    assert before
    assert {e.data.frame.seq for e in before} <= {5, 6, 7}
    assert after.after.state.num_waiting == waiting
    steps = {GapPolicy.HOLD: 8, GapPolicy.DECAY: 4, GapPolicy.RESET: 0}[policy]
    assert after.after.state.cell_LH[0, 0] == pytest.approx(steps, rel=0.05)


def test_a_pause_longer_than_the_state_lasts_counts_from_the_newest_frame():
    made = stage(gap=GapConfig(hold_seconds=1.0, state_ttl_seconds=5.0))
    later = chunk(first_seq=8, features=features_of(0)[None])
    for pause, told in ((4.95, 0), (5.05, 1)):
        item = entry(replace(later, pts_seconds=np.array([0.7 + pause])))
        _, after = after_gap(made, item)
        gaps = events_of(after, EventType.STREAM_GAP)
        assert [g.data.reason for g in gaps] == ["paused"] * told


@pytest.mark.parametrize(
    "status", [StreamStatus.RECONNECTING, StreamStatus.FAILED, StreamStatus.ENDED]
)
def test_a_note_has_what_waits_decided_first(status):
    made = stage()
    item = note(status=status, entry_us=(START_NS + 8 * STEP_NS) // 1000, note_seq=1)
    first, after = after_gap(made, entry(item))
    assert after.after.state.num_waiting == 0
    assert after.after.state.last_captured_ns == START_NS + 7 * STEP_NS
    assert after.events[-1].type is EventType.STREAM_STATUS
    assert all(e.data.frame.seq == 8 for e in after.events[-1:])
    open_ends = status is not StreamStatus.RECONNECTING
    assert bool(events_of(after, EventType.ACTION_END)) == open_ends
    numbers = [e.number for e in (*first.events, *after.events)]
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("ahead", [None, 1, AHEAD])
def test_another_model_takes_over_and_states_what_nobody_decided(ahead):
    made = stage()
    rows = np.array([features_of(1, 0)] * 8)
    first = fold(made, made.initial("cam", row=2), [entry(chunk(features=rows, length=8))])
    new = (
        TemporalStage(bundle(model_id="sha256:new"), LeakyModel())
        if ahead is None
        else stage(ahead, model_id="sha256:new")
    )
    labels = {"phases": ("a", "b", "c"), "actions": ("d", "e")}
    step = change_model(new, first.after, **labels, row=2, now_ns=START_NS)
    *ends, changed, gap = step.events
    assert {e.data.segment.end_pts_seconds for e in ends if e.type is EventType.ACTION_END} == {0.4}
    assert changed.type is EventType.MODEL_CHANGED
    assert (gap.data.missing_from_seq, gap.data.missing_frames) == (5, 3)
    assert (gap.data.reason, gap.data.policy) == ("model_changed", GapPolicy.RESET)
    assert gap.data.seconds == pytest.approx(0.3)
    numbers = [e.number for e in (*first.events, *step.events)]
    assert numbers == list(range(len(numbers)))
    after = step.checkpoint.state
    assert after.sequence == len(numbers)
    assert (after.next_seq, after.num_waiting) == (8, 0)
    assert (after.lookahead is None) == (ahead is None)
    assert new.misfit(after) == ""
    gone_on = fold(new, step.checkpoint, [frame_at(8)])
    assert not events_of(gone_on, EventType.STREAM_GAP)
    assert gone_on.after.state.num_waiting == (0 if ahead is None else 1)


def test_a_model_that_looks_ahead_takes_over_from_one_that_does_not():
    old = TemporalStage(bundle(), LeakyModel())
    first = fold(old, old.initial("cam", row=0), story(SOME, ends=False))
    new = stage(model_id="sha256:new")
    step = change_model(new, first.after, phases=("a",) * 3, actions=("d",) * 2, row=0, now_ns=1)
    assert not [e for e in step.events if e.type is EventType.STREAM_GAP]
    assert step.checkpoint.state.lookahead.inputs_WP.shape == (0, AheadModel.projection_dim)
    assert new.misfit(step.checkpoint.state) == ""


def waiting_state():
    made = stage()
    return fold(made, made.initial("cam", row=0), story(SOME, ends=False)).after.state


def test_a_state_that_is_of_another_look_ahead_does_not_fit():
    state = waiting_state()
    assert stage().misfit(state) == ""
    assert "at most 2 frames" in stage(2).misfit(state)
    assert "no look ahead" in TemporalStage(bundle(), LeakyModel()).misfit(state)
    assert "look ahead of 3 frames, found none" in stage().misfit(replace(state, lookahead=None))
    wide = LookaheadState(state.lookahead.frames, np.zeros((3, 6), np.float32))
    assert "of width 5" in stage().misfit(replace(state, lookahead=wide))


def test_waiting_frames_survive_the_bytes_and_older_bytes_have_none():
    state = waiting_state()
    raw = encode_state(state)
    assert encode_state(decode_state(raw)) == raw
    assert decode_state(raw).lookahead.frames == state.lookahead.frames
    plain = encode_state(replace(state, lookahead=None))
    assert b"state/1" in plain
    assert b"ahead" not in plain
    assert decode_state(plain).lookahead is None
    # Three frames of width 5: their inputs, and what is known of each.
    assert len(raw) - len(plain) < 3 * (4 * 5 + 100)
    with pytest.raises(StateError, match="unreadable"):
        decode_state(raw.replace(b"ahead/1", b"ahead/9"))
    with pytest.raises(ValueError, match="inputs of 2 waiting frames"):
        LookaheadState(state.lookahead.frames[:2], state.lookahead.inputs_WP)
