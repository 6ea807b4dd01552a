"""The checkpoint store's contract, over every implementation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from streamer.core.errors import StateError
from streamer.core.event import decode_event
from streamer.core.state import Checkpoint, Commit, DecoderState, OpenSegment, StreamState
from streamer.state.memory import MemoryCheckpointStore
from streamer.state.redis import RedisCheckpointStore
from streamer.state.store import CommitAnswer
from streamer.transport.codec import encode_state
from streamer.transport.connection import Keys, connect
from streamer.transport.memory import MemoryStreamLog
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from tests.samples import chunk
from tests.servers import CLUSTER, SERVERS, serving


class Bench:
    """A store, with its log and what it has written."""

    def __init__(self, store, log, reader, events):
        self.store, self.log, self.reader, self.events = store, log, reader, events


@pytest.fixture(params=["memory", *SERVERS, CLUSTER])
def bench(request):
    if request.param == "memory":
        log = MemoryStreamLog()
        store = MemoryCheckpointStore(log, now_seconds=lambda: 0.0)
        yield Bench(store, log, log, lambda: list(store.events))
        return
    with serving(request.param, request) as server:
        client = connect(server.url)
        keys = Keys(1)

        def events():
            return [decode_event(f[b"event"]) for _, f in client.xrange(keys.events(0))]

        yield Bench(
            RedisCheckpointStore(client, keys=keys),
            RedisStreamLog(client, keys=keys),
            RedisInputReader(client, keys=keys),
            events,
        )
        client.close()


def state(stream_id="cam", sequence=0):
    rng = np.random.default_rng(sequence)
    return StreamState(
        stream_id=stream_id,
        model_id="sha256:m",
        encoder_id="sha256:e",
        row=3,
        epoch=2,
        next_seq=17,
        sequence=sequence,
        last_pts_seconds=1.7,
        last_captured_ns=123,
        hidden_LH=rng.normal(size=(2, 5)).astype(np.float32),
        cell_LH=rng.normal(size=(2, 5)).astype(np.float32),
        decoder=replace(
            DecoderState.initial(4),
            phase=OpenSegment(label=1, start_seq=4, start_ns=99, start_pts_seconds=0.4),
            actions=(
                OpenSegment(
                    label=3, start_seq=5, start_ns=98, start_pts_seconds=0.5, below=(7, 8, 9.0)
                ),
            ),
        ),
    )


def commit(stream_id="cam", expected=b"", version=b"v1", position=1, events=()):
    checkpoint = Checkpoint(state=state(stream_id), position=position, version=version)
    return Commit(expected=expected, checkpoint=checkpoint, events=tuple(events))


@pytest.fixture
def owner(bench):
    assert bench.store.acquire(owner="a", ttl_seconds=60) == 1
    return "a"


def test_what_is_committed_is_loaded_bit_for_bit(bench, owner):
    assert bench.store.load("cam") is None
    assert bench.store.commit([commit()], owner=owner) == [CommitAnswer.OK]
    loaded = bench.store.load("cam")
    assert (loaded.version, loaded.position) == (b"v1", 1)
    assert encode_state(loaded.state) == encode_state(state())
    np.testing.assert_array_equal(loaded.state.hidden_LH, state().hidden_LH)
    assert loaded.state.decoder.phase == state().decoder.phase
    assert loaded.state.decoder.actions == state().decoder.actions


def test_events_and_state_are_written_once(bench, owner, make_event):
    step = commit(events=[make_event(0), make_event(1)])
    assert bench.store.commit([step], owner=owner) == [CommitAnswer.OK]
    assert bench.store.commit([step], owner=owner) == [CommitAnswer.DONE]
    assert bench.events() == [make_event(0), make_event(1)]


def test_a_step_from_an_old_version_changes_nothing(bench, owner, make_event):
    bench.store.commit([commit(version=b"v1")], owner=owner)
    late = commit(expected=b"", version=b"other", events=[make_event(0)])
    assert bench.store.commit([late], owner=owner) == [CommitAnswer.STALE]
    assert bench.store.load("cam").version == b"v1"
    assert bench.events() == []


def test_without_the_lease_nothing_is_written(bench, owner, make_event):
    answers = bench.store.commit([commit(events=[make_event(0)])], owner="stranger")
    assert answers == [CommitAnswer.FENCED]
    assert bench.store.load("cam") is None
    assert bench.events() == []


def test_each_stream_of_a_call_is_judged_alone(bench, owner):
    bench.store.commit([commit("two", version=b"t1")], owner=owner)
    answers = bench.store.commit(
        [commit("cam"), commit("two", version=b"x"), commit("three")], owner=owner
    )
    assert answers == [CommitAnswer.OK, CommitAnswer.STALE, CommitAnswer.OK]


def test_a_commit_makes_room_in_the_input(bench, owner):
    bench.log.open_source("cam", session="s1")
    for seq in range(3):
        bench.log.publish([chunk(first_seq=seq)], previous={})
    bench.store.commit([commit(position=chunk(first_seq=1).entry_us)], owner=owner)
    rows = bench.reader.read({"cam": 0}, timeout_seconds=0.01, limit=10)["cam"]
    assert [row.entry.first_seq for row in rows] == [2]


def test_one_owner_at_a_time(bench, owner):
    assert bench.store.acquire(owner="b", ttl_seconds=60) is None
    assert bench.store.acquire(owner="a", ttl_seconds=60) == 1
    bench.store.release(owner="b")
    assert bench.store.acquire(owner="b", ttl_seconds=60) is None
    bench.store.release(owner="a")
    assert bench.store.acquire(owner="b", ttl_seconds=60) == 2


def test_an_expired_lease_is_taken_over(valkey):
    client = connect(valkey.url)
    store = RedisCheckpointStore(client, keys=Keys(1))
    assert store.acquire(owner="a", ttl_seconds=0) == 1
    assert store.acquire(owner="b", ttl_seconds=60) == 2
    assert store.commit([commit()], owner="a") == [CommitAnswer.FENCED]
    client.close()


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x93\xa7state/9\x01\x02"])
def test_a_damaged_state_is_refused(valkey, raw):
    client = connect(valkey.url)
    keys = Keys(1)
    client.hset(keys.state("cam"), mapping={"version": b"v", "position": 1, "state": raw})
    with pytest.raises(StateError, match="unreadable"):
        RedisCheckpointStore(client, keys=keys).load("cam")
    client.close()
