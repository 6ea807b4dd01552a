"""Open segments: the fold of the log, and the same read backwards."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from streamer.client.cursor import EntryId
from streamer.client.filter import EventFilter
from streamer.client.log import LoggedEvent
from streamer.client.segments import OpenSegments, SegmentsBefore
from streamer.core.errors import TransportError
from streamer.core.event import EventType, GapReason, Status, encode_event
from tests.eventlog import make_event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.event import Event


class Log:
    """Entries of one partition, in order."""

    def __init__(self) -> None:
        self.entries: list[LoggedEvent] = []

    def say(self, event: Event, **said: object) -> LoggedEvent:
        data = msgspec.structs.replace(event.data, **said)
        event = msgspec.structs.replace(event, data=data)
        entry = LoggedEvent(
            0, EntryId(len(self.entries) + 1, 0), event.type, event.stream_id, encode_event(event)
        )
        self.entries.append(entry)
        return entry

    def action(self, type: EventType, start: int, label: str = "carry", **said: object) -> None:
        event = make_event(len(self.entries) + 1, type=type)
        segment = msgspec.structs.replace(event.data.segment, start_seq=start)
        self.say(event, segment=segment, label=label, **said)

    def phase(self, label: str | None, start: int, status: Status) -> None:
        event = make_event(len(self.entries) + 1, type=EventType.PHASE_TRANSITION)
        segment = msgspec.structs.replace(event.data.segment, start_seq=start)
        self.say(event, segment=segment, label=label, status=status)


def folded(entries: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    segments = OpenSegments()
    for entry in entries:
        segments.take(entry)
    return list(segments.events)


def read_back(entries: Sequence[LoggedEvent]) -> list[LoggedEvent]:
    before, segments = SegmentsBefore(), OpenSegments()
    for entry in reversed(entries):
        before.take(entry)
    before.fold_into(segments)
    return list(segments.events)


START, UPDATE, END = EventType.ACTION_START, EventType.ACTION_UPDATE, EventType.ACTION_END


def test_an_action_is_open_from_start_to_end():
    log = Log()
    log.action(START, 5)
    log.action(START, 6, "lift")
    log.action(UPDATE, 5)
    assert folded(log.entries) == log.entries[1:]
    log.action(END, 6, "lift", status=Status.RETRACTED)
    log.action(END, 5)
    assert folded(log.entries) == []


def test_the_phase_is_the_last_confirmed_and_what_was_announced_after_it():
    log = Log()
    log.phase("idle", 0, Status.CONFIRMED)
    log.phase("reach", 10, Status.PROVISIONAL)
    log.phase("grasp", 20, Status.PROVISIONAL)
    assert folded(log.entries) == log.entries
    log.phase("reach", 10, Status.CONFIRMED)
    assert folded(log.entries) == log.entries[2:]
    assert read_back(log.entries) == log.entries[2:]
    log.phase("grasp", 20, Status.RETRACTED)
    assert folded(log.entries) == log.entries[3:4]
    log.phase(None, 30, Status.CONFIRMED)
    assert folded(log.entries) == []


@pytest.mark.parametrize("what", ["state", "model", "anew"])
def test_what_has_no_end_of_its_own_ends(what):
    log = Log()
    log.action(START, 5)
    log.phase("idle", 0, Status.CONFIRMED)
    if what == "anew":
        log.say(make_event(0))
        log.say(make_event(0, type=START), label="new")
    else:
        event = make_event(9)
        type = EventType.STREAM_GAP if what == "state" else EventType.MODEL_CHANGED
        raw = msgspec.to_builtins(event) | {"type": type}
        raw["data"] |= {"reason": GapReason.STATE if what == "state" else ""}
        entry = replace(log.say(event), type=type, json=msgspec.json.encode(raw))
        log.entries[-1] = entry
    expected = log.entries[-1:] if what == "anew" else []
    assert folded(log.entries) == expected
    assert read_back(log.entries) == expected


def test_a_partition_is_forgotten_alone():
    segments = OpenSegments()
    log = Log()
    log.action(START, 5)
    segments.take(log.entries[0])
    segments.take(replace(log.entries[0], partition=1, stream_id="other"))
    segments.forget([0])
    assert [event.stream_id for event in segments.events] == ["other"]


def test_another_program_s_entry_is_told():
    entry = LoggedEvent(0, EntryId(7, 0), START, "cam", b'{"sequence": 1}')
    with pytest.raises(TransportError, match="entry 7-0 of partition 0 is no event"):
        OpenSegments().take(entry)


def wander(seed: int) -> Log:
    """A camera's life: phases as the filter announces them, actions, leavings, new epochs."""
    choose = random.Random(seed)
    log = Log()
    seq, phase, announced, actions = 0, False, [], []
    for _ in range(choose.randrange(1, 60)):
        seq += 1
        match choose.randrange(7):
            case 0:
                announced.append((f"p{choose.randrange(3)}", seq))
                log.phase(*announced[-1], Status.PROVISIONAL)
            case 1 if announced:
                log.phase(*announced.pop(0), Status.CONFIRMED)
                phase = True
            case 2 if announced:
                log.phase(*announced.pop(), Status.RETRACTED)
            case 3:
                actions.append((seq, f"a{choose.randrange(3)}"))
                log.action(START, *actions[-1])
            case 4 if actions:
                log.action(UPDATE, *choose.choice(actions))
            case 5 if actions:
                log.action(END, *actions.pop(choose.randrange(len(actions))))
            case 6 if choose.random() < 0.2:
                for one in announced:
                    log.phase(*one, Status.RETRACTED)
                if phase:
                    log.phase(None, seq + 1, Status.CONFIRMED)
                for action in actions:
                    log.action(END, *action)
                seq, phase, announced, actions = 0, False, [], []
    return log


@pytest.mark.parametrize("seed", range(300))
def test_reading_back_finds_what_following_found(seed):
    log = wander(seed)
    assert read_back(log.entries) == folded(log.entries)


def test_how_sure_an_event_must_be():
    wanted = EventFilter(min_confidence=0.95)  # these are said at 0.93
    log = Log()
    log.action(START, 1)
    log.action(START, 2, confidence=0.97)
    log.action(UPDATE, 1)
    log.action(END, 1)
    log.phase("idle", 0, Status.CONFIRMED)
    log.phase("idle", 0, Status.RETRACTED)
    log.phase(None, 9, Status.CONFIRMED)
    log.say(make_event(8))
    assert [wanted.takes(entry) for entry in log.entries] == [
        False, True, False, True, False, True, True, True,
    ]  # fmt: skip
    assert all(EventFilter().takes(entry) for entry in log.entries)


def test_typed_events_are_filtered_alike():
    wanted = EventFilter(streams=("cam*",), types=("action.*",), min_confidence=0.95)
    for type in (START, END, EventType.PHASE_TRANSITION, EventType.STREAM_STATUS):
        event = make_event(1, type=type, stream="cam7")
        entry = LoggedEvent(0, EntryId(1, 0), type, "cam7", encode_event(event))
        assert wanted.takes(entry) == wanted.takes_said(event) == (type is END)


def test_streams_are_globs_or_names():
    assert EventFilter(streams=("cam*",)).takes_stream("cam1")
    assert not EventFilter(streams=("cam*",)).takes_stream("door")
    assert EventFilter(streams=("a[b]",)).takes_stream("a[b]")
