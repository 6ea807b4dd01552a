"""The input log's contract, over every implementation."""

from __future__ import annotations

import pytest

from streamer.core.feature import FeatureChunk
from streamer.core.trace import TraceContext
from streamer.transport.codec import encode_input
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.lease import watch_leases
from streamer.transport.memory import MemoryStreamLog
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.transport import PublishAnswer, Unreadable
from tests.samples import chunk, note
from tests.servers import CLUSTER, SERVERS, serving

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(params=["memory", *SERVERS, CLUSTER])
def log_and_reader(request):
    if request.param == "memory":
        log = MemoryStreamLog(max_unread=10)
        yield log, log
        return
    with serving(request.param, request) as server:
        client = connect(server.url)
        keys = Keys(1)
        yield RedisStreamLog(client, keys=keys, max_unread=10), RedisInputReader(client, keys=keys)
        client.close()


@pytest.fixture
def log(log_and_reader):
    log, _ = log_and_reader
    log.open_source("cam", session="s1")
    return log


@pytest.fixture
def reader(log_and_reader):
    return log_and_reader[1]


def publish(log, *entries, previous=None):
    return [p.answer for p in log.publish(list(entries), previous=previous or {})]


def read(reader, stream_id="cam", position=0, limit=100):
    rows = reader.read({stream_id: position}, timeout_seconds=0.01, limit=limit)
    return rows.get(stream_id, [])


def test_epochs_grow_and_the_last_session_owns_the_stream(log):
    assert log.open_source("other", session="a").epoch == 1
    assert log.open_source("other", session="b").epoch == 2
    assert publish(log, chunk("other", session="a")) == [PublishAnswer.FENCED]
    assert publish(log, chunk("other", session="b")) == [PublishAnswer.ACCEPTED]


def test_entries_are_read_in_order_as_they_were_written(log, reader):
    written = [note(), chunk(first_seq=0, length=3), chunk(first_seq=3)]
    for entry in written:
        assert publish(log, entry) == [PublishAnswer.ACCEPTED]
    rows = read(reader)
    assert [row.position for row in rows] == [entry.entry_us for entry in written]
    assert rows[0].entry == written[0]
    got = rows[1].entry
    assert isinstance(got, FeatureChunk)
    assert got.features.tobytes() == written[1].features.tobytes()
    assert got.captured_at_ns.tolist() == written[1].captured_at_ns.tolist()
    assert got.pts_seconds.tolist() == written[1].pts_seconds.tolist()
    assert (got.first_seq, got.epoch, got.clock, got.ready) == (0, 1, "host", written[1].ready)


def test_traces_are_read_as_they_were_written_beside_the_same_bytes(log, reader):
    log.open_source("two", session="s1")
    traces = ((0, TRACE), (2, TRACE))
    for first_seq, own in ((0, ()), (3, traces), (6, ())):
        sent = [
            chunk(first_seq=first_seq, length=3, traces=own),
            chunk("two", first_seq=first_seq, length=3),
        ]
        assert publish(log, *sent) == [PublishAnswer.ACCEPTED] * 2
    assert [row.entry.traces for row in read(reader)] == [(), traces, ()]
    others = read(reader, "two")
    assert [row.entry.traces for row in others] == [(), (), ()]
    assert read(reader)[1].payload == encode_input(chunk(first_seq=3, length=3))


def test_reading_goes_on_after_a_position_and_stops_at_the_limit(log, reader):
    for seq in range(5):
        publish(log, chunk(first_seq=seq))
    rows = read(reader, position=chunk(first_seq=1).entry_us, limit=2)
    assert [row.entry.first_seq for row in rows] == [2, 3]


def test_the_same_entry_again_is_a_duplicate(log, reader):
    assert publish(log, chunk()) == [PublishAnswer.ACCEPTED]
    assert publish(log, chunk()) == [PublishAnswer.DUPLICATE]
    assert len(read(reader)) == 1


def test_an_entry_before_the_last_is_a_duplicate(log, reader):
    publish(log, chunk(first_seq=5))
    assert publish(log, chunk(first_seq=4)) == [PublishAnswer.DUPLICATE]
    assert len(read(reader)) == 1


def test_a_missing_predecessor_is_a_gap_that_names_the_last_entry(log, reader):
    publish(log, chunk(first_seq=0))
    (answer,) = log.publish([chunk(first_seq=2)], previous={"cam": chunk(first_seq=1).entry_us})
    assert answer.answer is PublishAnswer.GAP
    assert answer.last_us == chunk(first_seq=0).entry_us
    assert len(read(reader)) == 1
    again = log.publish([chunk(first_seq=2)], previous={"cam": answer.last_us})
    assert again[0].answer is PublishAnswer.ACCEPTED


def test_a_full_log_refuses_and_evicts_nothing(log, reader):
    for seq in range(10):
        assert publish(log, chunk(first_seq=seq)) == [PublishAnswer.ACCEPTED]
    assert publish(log, chunk(first_seq=10)) == [PublishAnswer.FULL]
    assert [row.entry.first_seq for row in read(reader)] == list(range(10))


def test_one_call_answers_for_each_stream(log, reader):
    log.open_source("two", session="s1")
    answers = publish(log, chunk("cam"), chunk("two"), chunk("stranger"))
    assert answers == [PublishAnswer.ACCEPTED, PublishAnswer.ACCEPTED, PublishAnswer.FORGOTTEN]
    assert len(read(reader, "two")) == 1


def test_a_log_that_forgot_a_session_says_so_until_it_is_claimed_again(log, reader):
    assert publish(log, chunk(session="s2", epoch=2)) == [PublishAnswer.FORGOTTEN]
    if hasattr(log, "_client"):
        assert not log.reclaim("cam", session="s2", epoch=2)  # without the lease
        watch_leases(log._client, keys=Keys(1)).acquire(["cam"], owner="s2", ttl_seconds=60)
    assert log.reclaim("cam", session="s2", epoch=2)
    assert publish(log, chunk(session="s2", epoch=2)) == [PublishAnswer.ACCEPTED]
    assert publish(log, chunk(session="s1", first_seq=1)) == [PublishAnswer.FENCED]
    assert log.open_source("cam", session="s2").epoch == 3


def test_an_epoch_that_the_log_forgot_is_not_given_again(log):
    assert log.open_source("cam", session="s1", at_least_epoch=7).epoch == 7
    assert log.open_source("cam", session="s1", at_least_epoch=3).epoch == 8


def test_a_new_epoch_knows_where_the_log_ends(log):
    publish(log, chunk(first_seq=7))
    assert log.open_source("cam", session="s2").last_us == chunk(first_seq=7).entry_us


def test_nothing_to_read_is_an_empty_answer(reader):
    assert reader.read({"cam": 0}, timeout_seconds=0.01, limit=5) == {}


def test_damaged_bytes_are_handed_on_as_unreadable(valkey):
    client = connect(valkey.url)
    keys = Keys(1)
    client.xadd(keys.features("cam"), {"e": b"\x00nonsense"}, id="17-0")
    (row,) = read(RedisInputReader(client, keys=keys))
    assert isinstance(row, Unreadable)
    assert row.position == 17
    assert "unreadable" in row.reason
    client.close()
