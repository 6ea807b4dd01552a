"""The invariants of the fold: chunking, batchmates and restarts change nothing, bit for bit."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.clock import Mark
from streamer.core.errors import ModelError
from streamer.core.event import EventType, GapPolicy, decode_event, encode_event
from streamer.core.feature import StreamStatus
from streamer.core.state import Checkpoint
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import decode_state, encode_input, encode_state
from streamer.transport.transport import LogEntry
from tests.models import LeakyModel, bundle, features_of
from tests.samples import START_NS, STEP_NS, chunk, note

TAKEN = Mark("test", 10**12)


def stage(rows=4):
    return TemporalStage(bundle(), LeakyModel(rows))


def entry(item):
    return LogEntry(item.entry_us, encode_input(item), item)


def story(labels, stream_id="cam", cuts=()):
    """Entries of one stream: a frame per (phase, actions), cut into chunks before `cuts`."""
    rows = np.array([features_of(phase, *actions) for phase, actions in labels])
    edges = sorted({0, len(rows), *(cut for cut in cuts if 0 < cut < len(rows))})
    return [
        entry(chunk(stream_id, a, length=b - a, features=rows[a:b]))
        for a, b in itertools.pairwise(edges)
    ]


def fold(stage, checkpoint, entries):
    (advanced,) = stage.advance([(checkpoint, entries)], taken=TAKEN)
    return advanced


def said(events):
    """What subscribers see, without what depends on when it was computed."""
    return [
        (e.id, e.type, e.sequence, e.time, getattr(e.data, "label", None),
         getattr(e.data, "confidence", None), getattr(e.data, "segment", None))
        for e in events
    ]  # fmt: skip


labels = st.lists(
    st.tuples(st.integers(0, 2), st.sets(st.integers(0, 1)).map(tuple)), min_size=1, max_size=40
)


@settings(max_examples=80, deadline=None)
@given(labels, st.sets(st.integers(1, 39)))
def test_any_split_into_chunks_gives_the_result_of_one_pass(labels, cuts):
    made = stage()
    whole = fold(made, made.initial("cam", row=1), story(labels))
    split = fold(made, made.initial("cam", row=1), story(labels, cuts=cuts))
    assert said(split.events) == said(whole.events)
    assert encode_state(split.after.state) == encode_state(whole.after.state)


@settings(max_examples=80, deadline=None)
@given(labels, st.lists(labels, max_size=6), st.integers(0, 3))
def test_batchmates_change_nothing(mine, others, row):
    made = stage()
    alone = fold(made, made.initial("cam", row=row), story(mine, cuts=range(40)))
    work = [(made.initial("cam", row=row), story(mine, cuts=range(40)))]
    for number, other in enumerate(others):
        name = f"other{number}"
        work.append((made.initial(name, row=number % 4), story(other, name)))
    together = made.advance(work, taken=TAKEN)[0]
    assert said(together.events) == said(alone.events)
    assert encode_state(together.after.state) == encode_state(alone.after.state)
    assert together.after.version == alone.after.version


@settings(max_examples=80, deadline=None)
@given(labels, st.integers(0, 40))
def test_checkpoint_restore_and_go_on_equals_never_having_stopped(labels, cut):
    made = stage()
    entries = story(labels, cuts=range(40))
    through = fold(made, made.initial("cam", row=2), entries)
    before = fold(made, made.initial("cam", row=2), entries[:cut])
    stored = decode_state(encode_state(before.after.state))
    again = stage()
    restored = Checkpoint(
        state=stored, position=before.after.position, version=before.after.version
    )
    after = fold(again, restored, entries[cut:])
    assert said(before.events + after.events) == said(through.events)
    assert after.after.version == through.after.version
    assert encode_state(after.after.state) == encode_state(through.after.state)


@settings(max_examples=40, deadline=None)
@given(labels)
def test_sequences_are_contiguous_and_ids_unique(labels):
    made = stage()
    advanced = fold(made, made.initial("cam", row=0), story(labels))
    assert [e.number for e in advanced.events] == list(range(len(advanced.events)))
    assert len({e.id for e in advanced.events}) == len(advanced.events)
    assert advanced.after.state.sequence == len(advanced.events)


def test_different_input_makes_a_different_version():
    made = stage()
    one = fold(made, made.initial("cam", row=0), story([(0, ()), (1, ())]))
    two = fold(made, made.initial("cam", row=0), story([(0, ()), (2, ())]))
    assert one.after.version != two.after.version


def events_of(advanced, type_):
    return [event for event in advanced.events if event.type is type_]


def test_a_short_hole_is_stated_and_the_state_held():
    made = stage()
    rows = np.array([features_of(0)] * 4)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=4))])
    held = fold(made, first.after, [entry(chunk(first_seq=9, features=rows[:1]))])
    (gap,) = events_of(held, EventType.STREAM_GAP)
    assert (gap.data.missing_from_seq, gap.data.missing_frames) == (4, 5)
    assert gap.data.policy is GapPolicy.HOLD
    assert gap.data.seconds == pytest.approx(0.6)
    assert held.after.state.cell_LH[0, 0] == 5


def test_a_long_hole_resets_and_ends_what_was_open():
    made = stage()
    rows = np.array([features_of(0, 1)] * 8)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=8))])
    assert events_of(first, EventType.ACTION_START)
    reset = fold(made, first.after, [entry(chunk(first_seq=30, features=rows[:1]))])
    (gap,) = events_of(reset, EventType.STREAM_GAP)
    assert gap.data.policy is GapPolicy.RESET
    (end,) = events_of(reset, EventType.ACTION_END)
    assert end.data.segment.end_reason == "gap"
    assert end.number < gap.number
    assert end.data.frame.seq == 7
    assert reset.after.state.cell_LH[0, 0] == 1


def test_a_new_epoch_resets_and_says_so():
    made = stage()
    rows = np.array([features_of(1)] * 8)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=8))])
    later = chunk(first_seq=0, features=rows[:1], epoch=2, entry_us=START_NS // 1000 + 10**7)
    second = fold(made, first.after, [entry(later)])
    (gap,) = events_of(second, EventType.STREAM_GAP)
    assert (gap.data.reason, gap.data.policy) == ("new_epoch", GapPolicy.RESET)
    left = events_of(second, EventType.PHASE_TRANSITION)[0]
    assert left.data.label is None
    assert left.data.previous.label == "work"
    assert left.data.previous.segment.end_reason == "new_epoch"
    assert (second.after.state.epoch, second.after.state.next_seq) == (2, 1)


def test_the_end_of_a_stream_ends_what_is_open():
    made = stage()
    rows = np.array([features_of(2, 0)] * 8)
    ended = note(
        status=StreamStatus.ENDED,
        reason="end_of_file",
        entry_us=(START_NS + 8 * STEP_NS) // 1000,
        note_seq=1,
    )
    advanced = fold(
        made,
        made.initial("cam", row=0),
        [entry(note()), entry(chunk(features=rows, length=8)), entry(ended)],
    )
    kinds = [event.type.removeprefix("streamer.") for event in advanced.events]
    assert kinds[0] == "stream.status"
    assert kinds[-3:] == ["phase.transition", "action.end", "stream.status"]
    assert advanced.events[-1].data.state == "ended"


def test_features_of_another_encoder_are_refused_naming_both():
    made = stage()
    odd = chunk(features=np.zeros((1, 5)), encoder_id="sha256:other")
    with pytest.raises(ModelError, match=r"sha256:encoder.*sha256:other"):
        fold(made, made.initial("cam", row=0), [entry(odd)])


def test_features_of_another_width_are_refused():
    made = stage()
    with pytest.raises(ModelError, match="width 5, found 4"):
        fold(made, made.initial("cam", row=0), [entry(chunk())])


def test_frames_out_of_order_are_refused():
    made = stage()
    rows = np.zeros((1, 5))
    first = fold(made, made.initial("cam", row=0), [entry(chunk(first_seq=3, features=rows))])
    with pytest.raises(ModelError, match="expected seq 4 of epoch 1, found 2"):
        fold(made, first.after, [entry(chunk(first_seq=2, features=rows))])


def test_an_event_survives_its_json():
    made = stage()
    advanced = fold(made, made.initial("cam", row=0), story([(0, (0,))] * 6 + [(1, ())] * 6))
    assert {e.type for e in advanced.events} >= {
        EventType.PHASE_TRANSITION,
        EventType.ACTION_START,
        EventType.ACTION_UPDATE,
        EventType.ACTION_END,
    }
    for event in advanced.events:
        assert decode_event(encode_event(event)) == event


def test_rows_of_streams_without_a_frame_are_left_alone():
    made = stage()
    idle = made.initial("idle", row=0)
    busy = made.initial("busy", row=1)
    result = made.advance([(idle, []), (busy, story([(0, ())] * 3, "busy"))], taken=TAKEN)
    assert result[0].after == replace(idle)
    assert len(result[1].frames) == 3
