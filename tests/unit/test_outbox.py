"""What the encoder does with the log's answers."""

from __future__ import annotations

import pytest

from streamer.core.errors import TransportError
from streamer.runtime.outbox import Outbox
from streamer.telemetry.observer import (
    DropReason,
    FeaturesPublished,
    FeaturesRefused,
    FramesDropped,
)
from streamer.transport.memory import MemoryStreamLog
from tests.samples import chunk, note


class Box:
    """An outbox on a small log, with what it told."""

    def __init__(self, *, log=None):
        self.log = log or MemoryStreamLog(max_unread=3)
        self.told, self.refused = [], []
        self.outbox = Outbox(
            self.log, observer=self, refused=lambda *where: self.refused.append(where)
        )
        self.log.open_source("cam", session="s1")

    def observe(self, record):
        self.told.append(record)

    def read(self, stream_id="cam"):
        rows = self.log.read({stream_id: 0}, timeout_seconds=0, limit=100).get(stream_id, [])
        return [row.entry.entry_us for row in rows]


def test_entries_go_out_by_position_and_are_counted_when_taken():
    box = Box()
    entries = [chunk(first_seq=2), note(), chunk(first_seq=0, length=2)]
    box.outbox.add(entries)
    box.outbox.publish()
    assert box.read() == sorted(entry.entry_us for entry in entries)
    assert box.told == [FeaturesPublished("cam", 2), FeaturesPublished("cam", 1)]
    assert not box.outbox.waiting


def test_what_a_full_log_refuses_waits_and_delays_no_other_stream():
    box = Box()
    box.log.open_source("two", session="s1")
    box.outbox.add([chunk(first_seq=seq) for seq in range(5)])
    box.outbox.publish()
    assert list(box.outbox.waiting) == ["cam"]
    box.outbox.add([chunk("two")])
    box.outbox.publish()
    assert box.read("two") == [chunk("two").entry_us]
    assert len(box.read()) == 3
    box.log.trim("cam", position=chunk(first_seq=2).entry_us)
    box.outbox.publish()
    assert box.read() == [chunk(first_seq=seq).entry_us for seq in (3, 4)]
    assert not box.outbox.waiting


def test_what_is_fenced_is_dropped_counted_and_makes_room():
    box = Box()
    box.log.open_source("cam", session="s2")
    box.outbox.add([chunk(length=3)])
    box.outbox.publish()
    assert box.told == [
        FeaturesRefused("cam", "fenced"),
        FramesDropped("cam", DropReason.REFUSED, 3),
    ]
    assert box.refused == [("cam", chunk(length=3).entry_us)]
    assert not box.outbox.waiting


def test_a_log_that_lost_its_tail_is_gone_on_from_and_it_is_said():
    box = Box()
    box.outbox.add([chunk(first_seq=0), chunk(first_seq=1)])
    box.outbox.publish()
    lost = MemoryStreamLog()
    lost.open_source("cam", session="s1")
    lost.publish([chunk(first_seq=0)], previous={})
    box.outbox._log = box.log = lost
    box.outbox.add([chunk(first_seq=2)])
    box.outbox.publish()
    assert FeaturesRefused("cam", "gap") in box.told
    assert box.read() == [chunk(first_seq=0).entry_us, chunk(first_seq=2).entry_us]


def test_a_lost_answer_publishes_nothing_twice():
    class LosesAnswers(MemoryStreamLog):
        lose = True

        def publish(self, entries, *, previous):
            answers = super().publish(entries, previous=previous)
            if self.lose:
                self.lose = False
                raise TransportError("no answer")
            return answers

    box = Box(log=LosesAnswers())
    box.outbox.add([chunk(first_seq=0), chunk(first_seq=1)])
    with pytest.raises(TransportError):
        box.outbox.publish()
    assert list(box.outbox.waiting) == ["cam"]
    box.outbox.publish()
    assert box.read() == [chunk(first_seq=0).entry_us, chunk(first_seq=1).entry_us]
    assert box.told == [FeaturesPublished("cam", 1), FeaturesPublished("cam", 1)]


def test_a_forgotten_stream_leaves_nothing():
    box = Box()
    box.outbox.add([chunk(first_seq=seq) for seq in range(5)])
    box.outbox.publish()
    box.outbox.forget("cam")
    assert not box.outbox.waiting
