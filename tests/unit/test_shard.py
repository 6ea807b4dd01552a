"""Which streams an encoder has, and which of their frames never came."""

from __future__ import annotations

import pytest

from streamer.core.config import EncoderSettings
from streamer.telemetry.records.every import InputRefused, StreamTakenUp
from streamer.transport.registry import StreamEntry
from tests.samples import stamp
from workers.shard import LINGER_SECONDS, Shard


class Wanted:
    """The list of streams, and what a shard told about it."""

    def __init__(self, *, shard=0, shards=1):
        self.slots, self.unreadable, self.told = {}, {}, []
        settings = EncoderSettings(shard=shard, shards=shards)
        self.shard = Shard(self, settings=settings, observer=self)

    def read(self):
        entries = {name: StreamEntry(slot=slot, source=b"{}") for name, slot in self.slots.items()}
        return entries, self.unreadable

    def observe(self, record):
        self.told.append(record)


def test_the_shards_share_all_streams_and_none_twice():
    found = []
    for shard in range(3):
        wanted = Wanted(shard=shard, shards=3)
        wanted.slots = {f"cam{slot}": slot for slot in range(7)}
        assert wanted.shard.refresh(now_seconds=0.0) == []
        assert {record.stream_id for record in wanted.told} == {*wanted.shard.stream_ids}
        found += wanted.shard.stream_ids
    assert sorted(found) == [f"cam{slot}" for slot in range(7)]


def test_a_stream_that_was_removed_is_looked_after_for_a_while():
    wanted = Wanted()
    wanted.slots = {"cam": 0}
    wanted.shard.refresh(now_seconds=100.0)
    wanted.slots = {}
    assert wanted.shard.refresh(now_seconds=100.0 + LINGER_SECONDS) == []
    assert wanted.shard.stream_ids == ["cam"]
    assert wanted.shard.refresh(now_seconds=100.1 + LINGER_SECONDS) == ["cam"]
    assert wanted.shard.stream_ids == []
    wanted.slots = {"cam": 0}
    wanted.shard.refresh(now_seconds=200.0)
    assert wanted.told == [StreamTakenUp("cam"), StreamTakenUp("cam")]


def test_an_entry_that_cannot_be_read_is_said():
    wanted = Wanted()
    wanted.unreadable = {"cam": "no JSON"}
    wanted.shard.refresh(now_seconds=0.0)
    assert wanted.told == [InputRefused("cam", "registry", "no JSON")]
    assert wanted.shard.stream_ids == []


@pytest.mark.parametrize(
    ("came", "missing"),
    [
        ([(1, 0), (1, 1)], [0, 0]),
        ([(1, 0), (1, 4)], [0, 3]),
        ([(1, 3), (2, 0)], [0, 0]),
        ([(1, 3), (2, 2)], [0, 2]),
        ([(1, 3), (1, 3)], [0, 0]),
        ([(1, 3), (1, 1), (1, 3)], [0, 0, 1]),
    ],
)
def test_a_hole_in_the_numbers_is_counted(came, missing):
    """The first frames of a stream that was there at the start may have been another encoder's."""
    wanted = Wanted()
    wanted.slots = {"cam": 0}
    wanted.shard.refresh(now_seconds=0.0)
    stamps = [stamp(epoch=epoch, seq=seq) for epoch, seq in came]
    assert [wanted.shard.missing_before(one) for one in stamps] == missing


def test_of_a_stream_that_came_later_the_first_frames_are_missed_too():
    wanted = Wanted()
    wanted.shard.refresh(now_seconds=0.0)
    wanted.slots = {"cam": 0}
    wanted.shard.refresh(now_seconds=1.0)
    assert wanted.shard.missing_before(stamp(epoch=1, seq=2)) == 2
