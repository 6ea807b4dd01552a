"""The invariants of the fold: chunking, batchmates and restarts change nothing, bit for bit."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.clock import Mark
from streamer.core.event import EventType, GapPolicy, decode_event, encode_event
from streamer.core.feature import StreamStatus
from streamer.core.state import Checkpoint
from streamer.models.config import GapConfig
from streamer.models.phase_filter import PhaseFilterConfig
from streamer.stages.reset import change_model
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import encode_input
from streamer.transport.state_codec import decode_state, encode_state
from streamer.transport.transport import LogEntry, Refusal, Unreadable
from tests.models import LeakyModel, bundle, features_of
from tests.samples import START_NS, STEP_NS, chunk, note

TAKEN = Mark("test", 10**12)


CHAIN = PhaseFilterConfig(
    initial_P=(0.5, 0.25, 0.25),
    transition_PP=((0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0)),
    mean_seconds_P=(0.5, 0.3, 0.4),
    stages_P=(2, 1, 2),
    prior_P=(0.5, 0.25, 0.25),
    evidence_weight=0.5,
    lag_frames=3,
)


def stage(rows=4, **decoder):
    return TemporalStage(bundle(**decoder), LeakyModel(rows))


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


@settings(max_examples=60, deadline=None)
@given(labels, st.sets(st.integers(1, 39)), st.integers(0, 40))
def test_with_a_phase_filter_neither_chunks_nor_restarts_change_anything(labels, cuts, cut):
    made = stage(phase_filter=CHAIN)
    whole = fold(made, made.initial("cam", row=1), story(labels))
    entries = story(labels, cuts=cuts)
    before = fold(made, made.initial("cam", row=1), entries[:cut])
    stored = replace(before.after, state=decode_state(encode_state(before.after.state)))
    assert made.misfit(stored.state) == ""
    after = fold(stage(phase_filter=CHAIN), stored, entries[cut:])
    assert said(before.events + after.events) == said(whole.events)
    assert encode_state(after.after.state) == encode_state(whole.after.state)
    assert len({event.id for event in whole.events}) == len(whole.events)


def test_a_gap_retracts_what_the_filter_had_not_confirmed():
    made = stage(phase_filter=CHAIN)
    rows = np.array([features_of(0)] * 10 + [features_of(1)] * 2)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=12))])
    reset = fold(made, first.after, [row(first_seq=60)])
    told = [e for e in events_of(reset, EventType.PHASE_TRANSITION) if e.data.frame.seq == 11]
    assert [(e.data.label, e.data.status) for e in told] == [
        ("work", "retracted"),
        (None, "confirmed"),
    ]
    assert told[-1].data.previous.label == "idle"


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


def row(*, phase=0, **changes):
    return entry(chunk(features=features_of(phase)[None], **changes))


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (row(first_seq=4, encoder_id="sha256:other"), r"sha256:encoder.*sha256:other"),
        (entry(chunk(first_seq=4)), "width 5, found 4"),
        (row(first_seq=2), "expected seq 4 of epoch 1 or later, found seq 2"),
        (row(first_seq=9, epoch=0), "found seq 9 of epoch 0"),
        (row(first_seq=4, stream_id="two"), "expected an entry of stream cam, found two"),
        (entry(chunk(first_seq=4, features=np.full((1, 5), np.nan))), "finite"),
        (Unreadable("cam", START_NS // 1000 + 400_000, b"junk", "unreadable entry"), "unreadable"),
    ],
)
def test_an_entry_that_does_not_fit_is_left_out_stated_and_kept_aside(odd, expected):
    made = stage()
    rows = np.array([features_of(0)] * 4)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=4))])
    after = fold(made, first.after, [odd, row(first_seq=5)])
    (letter,) = after.dead_letters
    assert re.search(expected, letter.detail)
    assert (letter.position, letter.payload) == (odd.position, odd.payload)
    refused, hole = events_of(after, EventType.STREAM_GAP)
    assert refused.data.reason == letter.reason
    assert (refused.data.missing_from_seq, refused.data.policy) == (4, GapPolicy.HOLD)
    assert (hole.data.reason, hole.data.missing_frames) == ("dropped", 1)
    assert after.after.state.cell_LH[0, 0] == 5  # the state never saw it
    assert np.isfinite(after.after.state.hidden_LH).all()
    assert decode_event(encode_event(refused)) == refused


def test_two_refused_entries_at_one_frame_are_two_events():
    made = stage()
    junk = [Unreadable("cam", START_NS // 1000 + n, b"junk", "unreadable") for n in range(2)]
    events = fold(made, made.initial("cam", row=0), junk).events
    assert len({event.id for event in events}) == 2


def test_leaving_an_entry_out_makes_another_version_than_folding_it_in():
    made = stage()
    item = row()
    folded = fold(made, made.initial("cam", row=0), [item])
    poison = Unreadable("cam", item.position, item.payload, "3 workers ended", Refusal.POISON)
    left_out = fold(made, made.initial("cam", row=0), [poison])
    assert folded.after.version != left_out.after.version
    assert left_out.events[0].data.reason == "poison"


def gap_of(seconds, **config):
    """What a hole of so many seconds does, to the state after eight frames."""
    made = TemporalStage(bundle(gap=GapConfig(**config)), LeakyModel(4))
    rows = np.array([features_of(0, 1)] * 8)
    first = fold(made, made.initial("cam", row=0), [entry(chunk(features=rows, length=8))])
    after = fold(made, first.after, [row(first_seq=7 + round(seconds * 10))])
    (gap,) = events_of(after, EventType.STREAM_GAP)
    ends = events_of(after, EventType.ACTION_END)
    return (
        gap.data.policy,
        after.after.state.cell_LH[0, 0] - 1,
        [e for e in ends if e.number < gap.number],
    )


@pytest.mark.parametrize(
    ("config", "seconds", "policy", "left"),
    [
        ({"hold_seconds": 1.0}, 0.5, GapPolicy.HOLD, 8),
        ({"hold_seconds": 1.0}, 2.0, GapPolicy.RESET, 0),
        ({"hold_seconds": 1.0, "policy": GapPolicy.HOLD}, 2.0, GapPolicy.HOLD, 8),
        ({"hold_seconds": 1.0, "policy": GapPolicy.DECAY}, 0.5, GapPolicy.HOLD, 8),
        ({"hold_seconds": 1.0, "policy": GapPolicy.DECAY}, 2.0, GapPolicy.DECAY, 4),
        ({"hold_seconds": 1.0, "policy": GapPolicy.DECAY}, 6.0, GapPolicy.DECAY, 1),
        (
            {"hold_seconds": 1.0, "policy": GapPolicy.HOLD, "state_ttl_seconds": 3.0},
            4.0,
            GapPolicy.RESET,
            0,
        ),
    ],
)
def test_the_bundle_says_what_a_gap_does(config, seconds, policy, left):
    applied, cell, ended = gap_of(seconds, **config)
    assert applied is policy
    assert cell == pytest.approx(left)
    assert bool(ended) == (policy is GapPolicy.RESET)


def test_a_pause_longer_than_the_state_lasts_resets_it_though_no_frame_is_missing():
    made = TemporalStage(bundle(gap=GapConfig(hold_seconds=1, state_ttl_seconds=5)), LeakyModel(4))
    first = fold(made, made.initial("cam", row=0), [row()])
    later = chunk(first_seq=1, features=features_of(0)[None])
    for pause, told in ((4.0, 0), (6.0, 1)):
        paused = replace(later, pts_seconds=later.pts_seconds + pause)
        gaps = events_of(fold(made, first.after, [entry(paused)]), EventType.STREAM_GAP)
        assert [(g.data.reason, g.data.policy) for g in gaps] == [("paused", "reset")] * told


def test_another_model_takes_over_in_words_of_both():
    old = stage()
    rows = np.array([features_of(1, 0)] * 8)
    first = fold(old, old.initial("cam", row=2), [entry(chunk(features=rows, length=8))])
    new = TemporalStage(bundle(model_id="sha256:new"), LeakyModel(4))
    step = change_model(
        new, first.after, phases=("a", "b", "c"), actions=("d", "e"), row=2, now_ns=START_NS
    )
    assert step.expected == first.after.version
    left, ended, changed = step.events
    assert left.data.previous.label == "b"
    assert ended.data.label == "d"
    assert {left.data.model_id, ended.data.model_id} == {"sha256:model"}
    assert ended.data.segment.end_reason == "model_changed"
    assert changed.type is EventType.MODEL_CHANGED
    assert changed.data.model_id == "sha256:new"
    assert changed.data.previous_model_id == "sha256:model"
    numbers = [event.number for event in (*first.events, *step.events)]
    assert numbers == list(range(len(numbers)))
    after = step.checkpoint.state
    assert (after.model_id, after.row, after.epoch, after.next_seq) == ("sha256:new", 2, 1, 8)
    assert not after.cell_LH.any()
    gone_on = fold(new, step.checkpoint, [row(first_seq=8)])
    assert not events_of(gone_on, EventType.STREAM_GAP)
    assert [e.number for e in gone_on.events] == list(
        range(len(numbers), len(numbers) + len(gone_on.events))
    )
    assert decode_event(encode_event(changed)) == changed


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
