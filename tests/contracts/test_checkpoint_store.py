"""The checkpoint store's contract, over every implementation."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

import numpy as np
import pytest

from streamer.core.errors import StateError, TransportError
from streamer.core.event import decode_event
from streamer.core.state import (
    Checkpoint,
    Commit,
    DeadLetter,
    DecoderState,
    OpenSegment,
    StreamState,
)
from streamer.state.memory import MemoryCheckpointStore
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.state.store import CommitAnswer, Stored
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.memory import MemoryLeases, MemoryStreamLog
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.state_codec import decode_state, encode_state
from tests.samples import chunk
from tests.servers import CLUSTER, SERVERS, serving


class Bench:
    """A store, with its log and what it has written."""

    def __init__(self, store, leases, log, reader, events):
        self.store, self.leases, self.log = store, leases, log
        self.reader, self.events = reader, events

    def load(self, stream_id="cam"):
        return self.store.load([stream_id])[stream_id]


@pytest.fixture(params=["memory", *SERVERS, CLUSTER])
def bench(request):
    if request.param == "memory":
        log = MemoryStreamLog()
        leases = MemoryLeases(now_seconds=lambda: 0.0)
        store = MemoryCheckpointStore(log, leases)
        yield Bench(store, leases, log, log, lambda: list(store.events))
        return
    with serving(request.param, request) as server:
        client = connect(server.url)
        keys = Keys(1)

        def events():
            return [decode_event(f[b"event"]) for _, f in client.xrange(keys.events(0))]

        yield Bench(
            RedisCheckpointStore(client, keys=keys, retention=Retention(replay_seconds=0)),
            partition_leases(client, keys=keys),
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
    assert bench.leases.acquire([0], owner="a", ttl_seconds=60) == {0: 1}
    return "a"


def test_what_is_committed_is_loaded_bit_for_bit(bench, owner):
    assert bench.load() == Stored()
    assert bench.store.commit([commit()], owner=owner) == [CommitAnswer.OK]
    assert bench.load().sequence == 0
    loaded = bench.load().checkpoint
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
    assert bench.load().version == b"v1"
    assert bench.events() == []


def test_without_the_lease_nothing_is_written(bench, owner, make_event):
    answers = bench.store.commit([commit(events=[make_event(0)])], owner="stranger")
    assert answers == [CommitAnswer.FENCED]
    assert bench.load() == Stored()
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
    leases = bench.leases
    assert leases.acquire([0], owner="b", ttl_seconds=60) == {}
    assert leases.acquire([0, 1], owner="a", ttl_seconds=60) == {0: 1, 1: 1}
    leases.release([0], owner="b")
    assert leases.acquire([0], owner="b", ttl_seconds=60) == {}
    leases.release([0], owner="a")
    assert leases.acquire([0, 1], owner="b", ttl_seconds=60) == {0: 2}


def test_a_lease_that_was_forgotten_is_its_last_owners(bench, owner):
    """A handed it to B; Redis lost that, and shows A's again."""
    leases = bench.leases
    leases.acquire([0], owner="a", ttl_seconds=60)
    assert leases.acquire([0], owner="b", ttl_seconds=60, known={0: 1}) == {}
    assert leases.acquire([0], owner="b", ttl_seconds=60, known={0: 2}) == {0: 2}
    assert leases.acquire([0], owner="a", ttl_seconds=60, known={0: 1}) == {}
    assert leases.acquire([0], owner="b", ttl_seconds=60, known={0: 5}) == {0: 5}


def test_an_expired_lease_is_taken_over(valkey):
    with open_client(valkey) as client:
        store = RedisCheckpointStore(client, keys=Keys(1))
        leases = partition_leases(client, keys=Keys(1))
        assert leases.acquire([0], owner="a", ttl_seconds=0) == {0: 1}
        assert leases.acquire([0], owner="b", ttl_seconds=60) == {0: 2}
        assert store.commit([commit()], owner="a") == [CommitAnswer.FENCED]


def test_a_server_clock_that_was_set_back_keeps_no_lease_for_ever(valkey):
    """A lease of five seconds that seems to have ten minutes left."""
    with open_client(valkey) as client:
        leases = partition_leases(client, keys=Keys(1))
        leases.acquire([0], owner="a", ttl_seconds=0.05)
        ahead = int(client.hget(Keys(1).lease(0), "expires_ms")) + 600_000
        client.hset(Keys(1).lease(0), "expires_ms", ahead)
        assert leases.acquire([0], owner="b", ttl_seconds=5) == {}
        left = int(client.hget(Keys(1).lease(0), "expires_ms")) - ahead
        assert left < -590_000
        deadline = time.monotonic() + 5
        while not leases.acquire([0], owner="b", ttl_seconds=5):
            assert time.monotonic() < deadline


@pytest.mark.parametrize("raw", [b"", b"junk", b"\x93\xa7state/9\x01\x02"])
def test_a_damaged_state_is_told_with_all_that_is_known(valkey, raw):
    with open_client(valkey) as client:
        keys = Keys(1)
        fields = {"version": b"v", "position": 7, "sequence": 3, "state": raw}
        client.hset(keys.state("cam"), mapping=fields)
        stored = RedisCheckpointStore(client, keys=keys).load(["cam"])["cam"]
        assert stored.checkpoint is None
        assert (stored.version, stored.position, stored.sequence) == (b"v", 7, 3)
        assert (stored.raw, "unreadable" in stored.damage) == (raw, True)
        assert keys.state("cam") in stored.damage


def test_keys_of_somebody_else_are_named_and_hurt_no_other_stream(valkey, make_event):
    with open_client(valkey) as client:
        keys = Keys(1)
        store = RedisCheckpointStore(client, keys=keys)
        partition_leases(client, keys=keys).acquire([0], owner="a", ttl_seconds=60)
        client.set(keys.state("odd"), "mine")
        client.hset(keys.state("half"), mapping={"version": "v", "position": "x"})
        loaded = store.load(["odd", "cam", "half"])
        assert isinstance(loaded["odd"], StateError)
        assert keys.state("odd") in str(loaded["odd"])
        assert isinstance(loaded["half"], StateError)
        assert loaded["cam"] == Stored()
        store.attempt({"odd": 1, "cam": 2})
        assert store.load(["cam"])["cam"].attempts == 2
        answers = store.commit([commit("odd"), commit("cam")], owner="a")
        assert answers == [CommitAnswer.FOREIGN, CommitAnswer.OK]
        assert store.load(["cam"])["cam"].attempts == 0
        client.delete(keys.events(0))
        client.set(keys.events(0), "mine")
        later = commit(expected=b"v1", version=b"v2", events=[make_event(0)])
        assert store.commit([later], owner="a") == [CommitAnswer.FOREIGN]
        assert store.load(["cam"])["cam"].version == b"v1"


def test_dead_letters_are_written_with_the_step_that_left_them(valkey):
    with open_client(valkey) as client:
        keys = Keys(1)
        partition_leases(client, keys=keys).acquire([0], owner="a", ttl_seconds=60)
        store = RedisCheckpointStore(client, keys=keys, retention=Retention(max_dead_letters=10))
        letters = (DeadLetter(5, "unreadable", "why", b"\x00bytes"),)
        step = replace(commit(), dead_letters=letters)
        assert store.commit([step, step], owner="a") == [CommitAnswer.OK, CommitAnswer.OK]
        rows = client.xrange(keys.dead(0))
        assert rows[0][1] == {
            b"key": keys.features("cam").encode(),
            b"position": b"5",
            b"reason": b"unreadable",
            b"detail": b"why",
            b"bytes": b"\x00bytes",
        }


def test_features_and_anchors_are_kept_for_replay_and_no_longer(valkey):
    with open_client(valkey) as client:
        keys = Keys(1)
        log = RedisStreamLog(client, keys=keys)
        log.open_source("cam", session="s1")
        partition_leases(client, keys=keys).acquire([0], owner="a", ttl_seconds=60)
        store = RedisCheckpointStore(client, keys=keys, retention=Retention(replay_seconds=0.5))
        before = Checkpoint(state=state(), position=0, version=b"")
        for seq in range(20):
            entry = chunk(first_seq=seq)
            log.publish([entry], previous={})
            after = Checkpoint(state=state(), position=entry.entry_us, version=b"v%d" % seq)
            step = Commit(expected=before.version, checkpoint=after, events=(), anchor=before)
            assert store.commit([step], owner="a") == [CommitAnswer.OK]
            before = after
        assert client.xlen(keys.features("cam")) == 5  # half a second at 10 frames a second
        anchors = client.xrange(keys.anchors("cam"))
        assert len(anchors) == 4
        assert decode_state(anchors[0][1][b"state"]).stream_id == "cam"
        assert anchors[-1][1][b"version"] == b"v18"


def test_what_is_kept_for_replay_gives_way_before_the_log_is_full(valkey):
    with open_client(valkey) as client:
        keys = Keys(1)
        log = RedisStreamLog(client, keys=keys, max_unread=10)
        log.open_source("cam", session="s1")
        partition_leases(client, keys=keys).acquire([0], owner="a", ttl_seconds=60)
        store = RedisCheckpointStore(client, keys=keys, retention=Retention(replay_seconds=600))
        for seq in range(10):
            log.publish([chunk(first_seq=seq)], previous={})
        (full,) = log.publish([chunk(first_seq=10)], previous={})
        assert full.answer == "full"
        store.commit([commit(position=chunk(first_seq=5).entry_us)], owner="a")
        assert client.xlen(keys.features("cam")) == 10
        (taken,) = log.publish([chunk(first_seq=10)], previous={})
        assert taken.answer == "accepted"
        rows = RedisInputReader(client, keys=keys).read({"cam": 0}, timeout_seconds=0.01, limit=99)
        assert [row.entry.first_seq for row in rows["cam"]] == [6, 7, 8, 9, 10]


def test_when_memory_is_full_producers_wait_and_consumers_go_on(valkey, make_event):
    with open_client(valkey) as client:
        keys = Keys(1)
        log = RedisStreamLog(client, keys=keys)
        log.open_source("cam", session="s1")
        leases = partition_leases(client, keys=keys)
        leases.acquire([0], owner="a", ttl_seconds=60)
        store = RedisCheckpointStore(client, keys=keys, retention=Retention(replay_seconds=600))
        for seq in range(300):
            log.publish([chunk(first_seq=seq, width=2_000)], previous={})
        step = commit(position=chunk(first_seq=200).entry_us, events=[make_event(0)])
        used = int(client.info("memory")["used_memory"])
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", used - 200_000)
        assert leases.acquire([0], owner="a", ttl_seconds=60) == {0: 1}
        store.attempt({"cam": 1})
        assert store.commit([step], owner="a") == [CommitAnswer.OK]
        later = chunk(first_seq=300, width=2_000)
        with pytest.raises(TransportError, match="OOM") as refused:
            log.publish([later], previous={})
        assert refused.value.retryable
        # What was kept for replay has been given up for it.
        assert client.xlen(keys.features("cam")) == 99
        assert log.publish([later], previous={})[0].answer == "accepted"


def test_events_are_kept_for_no_longer_than_they_are_to_be(valkey, make_event):
    with open_client(valkey) as client:
        keys = Keys(1)
        partition_leases(client, keys=keys).acquire([0], owner="a", ttl_seconds=60)
        fields = {"type": "t", "stream": "cam", "id": "x", "sequence": 0, "event": "{}"}
        for number in range(500):  # whole nodes of the stream, an hour ago
            client.xadd(
                keys.events(0), fields, id=f"{int(time.time() * 1000) - 3_600_000 + number}-0"
            )
        store = RedisCheckpointStore(client, keys=keys, retention=Retention(event_seconds=60))
        store.commit([commit(events=[make_event(0)])], owner="a")
        assert client.xlen(keys.events(0)) <= 101
        assert client.xrevrange(keys.events(0), count=1)[0][1][b"id"] == make_event(0).id.encode()


@contextlib.contextmanager
def open_client(server):
    client = connect(server.url)
    try:
        yield client
    finally:
        client.close()
