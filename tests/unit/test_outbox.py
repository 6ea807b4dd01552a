"""What the encoder does with the log's answers."""

from __future__ import annotations

import pytest

from streamer.core.errors import TransportError
from streamer.runtime.outbox import Outbox
from streamer.telemetry.records.encoder import FeaturesPublished, FeaturesRefused, FeaturesResent
from streamer.telemetry.records.frames import DropReason, FramesDropped
from streamer.transport.memory import MemoryStreamLog
from tests.samples import chunk, note


class Box:
    """An outbox on a small log, with what it told."""

    def __init__(self, *, log=None, **options):
        self.log = log or MemoryStreamLog(max_unread=3)
        self.told, self.refused = [], []
        self.outbox = Outbox(
            self.log,
            observer=self,
            refused=lambda *where: self.refused.append(where),
            **options,
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
    # Its frames are counted by who opened the source anew: they lay in the frame path then.
    assert box.told == [FeaturesRefused("cam", "fenced")]
    assert box.refused == []  # and made room then
    assert not box.outbox.waiting


def rolled_back(box, *entries):
    """The log as it was when it had only these."""
    log = MemoryStreamLog(max_unread=100)
    log.open_source("cam", session="s1")
    for entry in entries:
        log.publish([entry], previous={})
    box.outbox._log = box.log = log


def positions(*seqs):
    return [chunk(first_seq=seq).entry_us for seq in seqs]


def published(box, *seqs):
    for seq in seqs:
        box.outbox.add([chunk(first_seq=seq)])
        box.outbox.publish()


def test_what_was_taken_and_lost_and_then_fenced_is_counted_as_lost():
    box = Box(log=MemoryStreamLog(max_unread=100))
    published(box, 0, 1)
    rolled_back(box)
    box.log.open_source("cam", session="s2")  # another worker has the lease by now
    box.outbox.doubt()
    box.outbox.publish()
    box.outbox.add([chunk(first_seq=2, session="s2")])
    box.outbox.publish()
    assert box.read() == positions(2)
    lost = [record for record in box.told if isinstance(record, FramesDropped)]
    assert lost == [FramesDropped("cam", DropReason.LOST, 1)] * 2


@pytest.mark.parametrize("kept", range(4))
def test_what_the_log_has_lost_is_sent_again_byte_for_byte(kept):
    box = Box(log=MemoryStreamLog(max_unread=100))
    published(box, 0, 1, 2, 3)
    before = box.log.read({"cam": 0}, timeout_seconds=0, limit=9)["cam"]
    rolled_back(box, *[chunk(first_seq=seq) for seq in range(kept)])
    published(box, 4)
    after = box.log.read({"cam": 0}, timeout_seconds=0, limit=9)["cam"]
    assert [row.position for row in after] == positions(0, 1, 2, 3, 4)
    assert [row.payload for row in after[:4]] == [row.payload for row in before]
    assert FeaturesResent("cam", 4 - kept, complete=True) in box.told
    frames = [record for record in box.told if isinstance(record, FeaturesPublished)]
    assert len(frames) == 5  # each counted once


def test_after_a_lost_connection_a_silent_stream_is_made_sure_of():
    box = Box(log=MemoryStreamLog(max_unread=100))
    published(box, 0, 1, 2)
    rolled_back(box, chunk(first_seq=0))
    box.outbox.doubt()
    box.outbox.publish()
    assert box.read() == positions(0, 1, 2)
    box.outbox.doubt()
    box.outbox.publish()
    assert box.read() == positions(0, 1, 2)
    assert not box.outbox.waiting


def test_a_buffer_too_small_says_that_it_was_not_enough():
    box = Box(log=MemoryStreamLog(max_unread=100), resend_bytes=2_100)
    published(box, 0, 1, 2, 3)
    assert box.outbox.remembered_bytes <= 2_100
    rolled_back(box)
    published(box, 4)
    assert box.read() == positions(2, 3, 4)
    assert FeaturesResent("cam", 2, complete=False) in box.told


def test_the_buffer_forgets_what_is_old_but_not_the_last():
    now = [0.0]
    box = Box(log=MemoryStreamLog(max_unread=100), resend_seconds=10, clock=lambda: now[0])
    published(box, 0, 1)
    now[0] = 11.0
    published(box, 2)
    rolled_back(box)
    box.outbox.doubt()
    box.outbox.publish()
    assert box.read() == positions(2)


def test_a_log_that_another_encoder_has_written_to_is_gone_on_from():
    box = Box(log=MemoryStreamLog(max_unread=100))
    published(box, 0)
    box.log.publish([chunk(first_seq=1)], previous={})
    published(box, 2)
    assert box.read() == positions(0, 1, 2)
    assert not [record for record in box.told if isinstance(record, FeaturesResent)]


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


def test_a_session_that_a_rollback_undid_gets_everything_back_when_it_claims_its_stream_again():
    box = Box(log=MemoryStreamLog(max_unread=100))
    published(box, 0, 1, 2)
    box.outbox._log = box.log = MemoryStreamLog(max_unread=100)  # it never heard of the session
    box.outbox.doubt()
    box.outbox.publish()
    assert list(box.outbox.waiting) == ["cam"]
    box.log.reclaim("cam", session="s1", epoch=1)
    published(box, 3)
    assert box.read() == positions(0, 1, 2, 3)
