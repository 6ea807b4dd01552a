"""The data plane on a real cluster: redirects, a slot that moves, a master that dies."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest
import redis

from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import decode_event
from streamer.core.state import Checkpoint, Commit, DecoderState, StreamState
from streamer.state.redis import RedisCheckpointStore, Retention
from streamer.state.store import CommitAnswer
from streamer.transport.connection import (
    Call,
    call_many,
    connect,
    load_functions,
    read_entries,
    reconnect,
)
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.lease import partition_leases
from streamer.transport.redis import RedisInputReader, RedisStreamLog
from streamer.transport.transport import PublishAnswer
from tests.cluster import EmbeddedCluster, slot_of
from tests.loopback import free_port
from tests.samples import chunk, event
from tests.servers import SERVERS, binary_of

KEYS = Keys(64)
PATIENCE_SECONDS = 30.0


@pytest.fixture
def client(cluster):
    cluster.flush()
    client = connect(cluster.url)
    yield client
    client.close()


def neighbours(num: int) -> list[str]:
    """Streams of one partition."""
    first = "cam-0"
    names = (f"cam-{n}" for n in range(10_000))
    same = [name for name in names if KEYS.partition(name) == KEYS.partition(first)]
    return same[:num]


def other_node(cluster, slot):
    owner = cluster.owner(slot)
    return next(node for node in cluster.nodes if node is not owner)


def state(stream_id: str, sequence: int) -> StreamState:
    return StreamState(
        stream_id=stream_id,
        model_id="sha256:m",
        encoder_id="sha256:e",
        row=0,
        epoch=1,
        next_seq=sequence,
        sequence=sequence,
        last_pts_seconds=0.0,
        last_captured_ns=0,
        hidden_LH=np.zeros((1, 4), np.float32),
        cell_LH=np.zeros((1, 4), np.float32),
        decoder=DecoderState.initial(2),
    )


class Worker:
    """Publishes, reads and commits for streams of one partition, and tries again as workers do."""

    def __init__(self, client, stream_ids):
        self.client = client
        self.stream_ids = stream_ids
        self.partition = KEYS.partition(stream_ids[0])
        self.log = RedisStreamLog(client, keys=KEYS)
        self.reader = RedisInputReader(client, keys=KEYS)
        self.store = RedisCheckpointStore(client, keys=KEYS, retention=Retention(replay_seconds=0))
        self.leases = partition_leases(client, keys=KEYS)
        self.failures: list[tuple[float, str]] = []

    def insist(self, step):
        """Its answer, however often it has to be tried."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return step()
            except TransportError as error:
                if not error.retryable or time.monotonic() > deadline:
                    raise
                self.failures.append(str(error))
                reconnect(self.client)
                time.sleep(0.01)

    def open(self):
        for stream_id in self.stream_ids:
            self.insist(lambda name=stream_id: self.log.open_source(name, session="s1"))
        self.insist(self.lease)

    def lease(self):
        return self.leases.acquire([self.partition], owner="w", ttl_seconds=60)

    def stored(self, stream_id):
        return self.store.load([stream_id])[stream_id]

    def step(self, seq):
        """Take one chunk of each stream all the way."""
        chunks = [chunk(name, seq) for name in self.stream_ids]
        entry_us = chunks[0].entry_us
        before_us = chunk("cam", seq - 1).entry_us if seq else 0
        previous = dict.fromkeys(self.stream_ids, before_us)
        published = self.insist(lambda: self.log.publish(chunks, previous=previous))
        done = {PublishAnswer.ACCEPTED, PublishAnswer.DUPLICATE}
        assert {one.answer for one in published} <= done, published
        rows = {}
        while rows.keys() != set(self.stream_ids):
            rows = self.insist(lambda: self.reader.read(previous, timeout_seconds=0.05, limit=10))
        for got in rows.values():
            assert [row.position for row in got] == [entry_us]
        commits = [
            Commit(
                expected=f"v{seq - 1}".encode() if seq else b"",
                checkpoint=Checkpoint(
                    state=state(name, seq), position=entry_us, version=f"v{seq}".encode()
                ),
                events=(event(seq),),
            )
            for name in self.stream_ids
        ]
        answers = self.insist(lambda: self.store.commit(commits, owner="w"))
        assert set(answers) <= {CommitAnswer.OK, CommitAnswer.DONE}, answers

    def check(self, num):
        """Everything is there, once, in order."""
        rows = self.client.xrange(KEYS.events(self.partition))
        events = [(fields[b"stream"].decode(), fields[b"event"]) for _, fields in rows]
        for name in self.stream_ids:
            sequences = [decode_event(raw).number for of, raw in events if of == name]
            assert sequences == list(range(num))
            checkpoint = self.stored(name)
            assert checkpoint.version == f"v{num - 1}".encode()
            assert checkpoint.position == chunk("cam", num - 1).entry_us


def opening(name):
    keys = [KEYS.source(name), KEYS.frames(name), KEYS.watch(name)]
    return Call("open_source", keys, [f"session of {name}", "me", 1])


def test_calls_of_all_partitions_go_out_at_once(client):
    names = [f"cam-{n}" for n in range(100)]
    opened = call_many(client, [opening(name) for name in names])
    assert [int(epoch) for epoch, *_ in opened] == [1] * 100
    assert client.hmget(KEYS.source("cam-7"), "session") == [b"session of cam-7"]


def test_one_failed_call_is_an_error(client):
    client.set(KEYS.source("cam-1"), "no hash")
    calls = [opening("cam-0"), opening("cam-1")]
    with pytest.raises(TransportError, match=r"open_source: .*WRONGTYPE") as caught:
        call_many(client, calls)
    assert not caught.value.retryable


def test_streams_of_many_slots_are_read_together(client):
    starts = {KEYS.features(f"cam-{n}"): 5 for n in range(40)}
    began = time.monotonic()
    assert read_entries(client, starts, limit=3, timeout_seconds=0.2) == {}
    assert 0.19 < time.monotonic() - began < 1.0
    pipeline = client.pipeline(transaction=False)
    for key in starts:
        for position in (5, 6, 7, 8, 9):
            pipeline.xadd(key, {"e": key}, id=f"{position}-0")
    pipeline.execute()
    read = read_entries(client, starts, limit=3, timeout_seconds=0.2)
    assert read == {key: [(at, key.encode()) for at in (6, 7, 8)] for key in starts}


@pytest.mark.parametrize("stream_ids", [["cam-0"], ["cam-0", "cam-1"]], ids=["one slot", "two"])
def test_a_waiting_reader_sees_what_comes(client, cluster, stream_ids):
    starts = {KEYS.features(name): 0 for name in stream_ids}
    writer = connect(cluster.url)
    timer = threading.Timer(
        0.1, lambda: writer.xadd(KEYS.features(stream_ids[-1]), {"e": b"x"}, id="1-0")
    )
    timer.start()
    began = time.monotonic()
    assert read_entries(client, starts, limit=3, timeout_seconds=2) == {
        KEYS.features(stream_ids[-1]): [(1, b"x")]
    }
    assert time.monotonic() - began < 1.0
    timer.join()
    writer.close()


def test_a_moved_slot_is_followed(client, cluster):
    worker = Worker(client, neighbours(2))
    worker.open()
    worker.step(0)
    slot = slot_of(KEYS.lease(worker.partition))
    cluster.migrate_slot(slot, other_node(cluster, slot))
    worker.step(1)
    worker.check(2)
    assert worker.failures == []


@pytest.mark.parametrize("atomic", [False, True], ids=["key by key", "atomic"])
def test_a_slot_moves_under_load(client, cluster, atomic):
    worker = Worker(client, neighbours(3))
    worker.open()
    slot = slot_of(KEYS.lease(worker.partition))
    target = other_node(cluster, slot)
    moving = threading.Thread(
        target=(
            (lambda: cluster.migrate_slot_atomically(slot, target))
            if atomic
            else (lambda: cluster.migrate_slot(slot, target, pause_seconds=0.03))
        )
    )
    seq = 0
    while seq < 20 or moving.is_alive() or moving.ident is None:
        worker.step(seq)
        seq += 1
        if seq == 10:
            moving.start()
    moving.join()
    worker.check(seq)
    assert all("during rehashing" in text for text in worker.failures), worker.failures
    assert bool(worker.failures) is not atomic


def test_reading_goes_on_while_a_slot_moves(client, cluster):
    present, missing = (KEYS.features(name) for name in neighbours(2))
    slot = slot_of(present)
    client.xadd(present, {"e": b"1"}, id="1-0")
    target = other_node(cluster, slot)
    starts = {present: 0, missing: 0}
    expected = {present: [(1, b"1")]}
    cluster.begin_migration(slot, target)
    assert read_entries(client, starts, limit=3, timeout_seconds=0.5) == expected
    assert cluster.move_keys(slot, target) == 1
    assert read_entries(client, starts, limit=3, timeout_seconds=0.5) == expected
    assert read_entries(client, {missing: 0}, limit=3, timeout_seconds=0.02) == {}
    cluster.end_migration(slot, target)
    assert read_entries(client, starts, limit=3, timeout_seconds=0.5) == expected


def test_a_waiting_reader_follows_its_slot(client, cluster):
    key = KEYS.features("cam-0")
    slot = slot_of(key)
    client.xadd(key, {"e": b"old"}, id="1-0")
    writer = connect(cluster.url)

    def move_and_write():
        cluster.migrate_slot(slot, other_node(cluster, slot))
        writer.xadd(key, {"e": b"new"}, id="2-0")

    timer = threading.Timer(0.2, move_and_write)
    timer.start()
    began = time.monotonic()
    read = read_entries(client, {key: 1}, limit=3, timeout_seconds=2)
    assert read == {key: [(2, b"new")]}
    assert time.monotonic() - began < 1.0
    timer.join()
    writer.close()


def test_a_single_server_says_that_it_is_one_of_a_cluster(cluster):
    node = other_node(cluster, slot_of(KEYS.source("cam")))
    single = connect(f"redis://127.0.0.1:{node.port}")
    with pytest.raises(TransportError, match=r"use redis\+cluster://") as caught:
        RedisStreamLog(single, keys=KEYS).open_source("cam", session="s")
    assert not caught.value.retryable
    single.close()


def test_a_server_that_is_none_of_a_cluster_is_refused(valkey_port):
    with pytest.raises(ConfigError, match="without cluster mode"):
        connect(f"redis+cluster://127.0.0.1:{valkey_port}")


def test_a_master_that_lost_its_functions_is_given_them(client, cluster):
    for node in cluster.nodes:
        with node.client as direct:
            direct.function_flush("SYNC")
    log = RedisStreamLog(client, keys=KEYS)
    assert [log.open_source(f"cam-{n}", session="s").epoch for n in range(20)] == [1] * 20
    load_functions(client)


@pytest.fixture(scope="module", params=SERVERS)
def frail(request):
    """A cluster with an append-only file, whose nodes a test may kill or stop."""
    with EmbeddedCluster(binary=binary_of(request.param), appendonly=True) as cluster:
        yield cluster


def test_a_new_master_without_slots_takes_over_a_slot(frail):
    frail.flush()
    client = connect(frail.url)
    worker = Worker(client, neighbours(2))
    worker.open()
    worker.step(0)
    slot = slot_of(KEYS.lease(worker.partition))
    newcomer = frail.add_node()
    frail.begin_migration(slot, newcomer)
    frail.move_keys(slot, newcomer)
    # ASK names a node that stands in no slot table and has no functions.
    assert worker.lease() == {worker.partition: 1}
    assert worker.stored(worker.stream_ids[0]).version == b"v0"
    # One of the keys, the frame path, does not exist: nobody can tell whether it has moved.
    with pytest.raises(TransportError, match="during rehashing") as caught:
        worker.log.publish([chunk(worker.stream_ids[0], 1)], previous={})
    assert caught.value.retryable
    frail.end_migration(slot, newcomer)
    worker.step(1)
    worker.check(2)
    assert worker.failures == []
    client.close()


def test_a_master_dies_and_comes_back(frail):
    frail.flush()
    client = connect(frail.url)
    worker = Worker(client, neighbours(3))
    worker.open()
    for seq in range(5):
        worker.step(seq)
    owner = frail.owner(slot_of(KEYS.lease(worker.partition)))
    owner.server.kill()
    for name in worker.stream_ids:
        with pytest.raises(TransportError) as caught:
            worker.stored(name)
        assert caught.value.retryable
        reconnect(client)
    with pytest.raises(TransportError) as caught:
        call_many(client, [Call("release", [KEYS.lease(n)], ["w"]) for n in range(64)])
    assert caught.value.retryable
    # Longer than the node timeout: the others notice, and refuse too.
    time.sleep(2.5)
    with pytest.raises(TransportError) as caught:
        call_many(client, [Call("release", [KEYS.lease(n)], ["x"]) for n in range(64)])
    assert caught.value.retryable
    owner.server.start()
    worker.insist(worker.lease)
    for seq in range(5, 10):
        worker.step(seq)
    worker.check(10)
    client.close()


def test_a_command_whose_answer_was_lost_is_not_sent_again(frail):
    frail.flush()
    client = connect(f"{frail.url}?socket_timeout=0.3")
    key = KEYS.events(0)
    pid = frail.owner(slot_of(key)).server.pid
    client.xlen(key)
    for num, send in enumerate((client.xadd, pipelined(client)), 1):
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(redis.TimeoutError):
                send(key, {"a": b"b"})
        finally:
            os.kill(pid, signal.SIGCONT)
        reconnect(client)
        assert client.xlen(key) == num
    client.close()


def pipelined(client):
    def send(*args):
        pipeline = client.pipeline(transaction=False)
        pipeline.xadd(*args)
        return pipeline.execute()

    return send


def test_a_cluster_with_a_password(frail):
    for node in frail.nodes:
        with node.client as direct:
            direct.config_set("requirepass", "s3:cret")
    try:
        client = connect(frail.url.replace("//", "//:s3%3Acret@"))
        reconnect(client)
        assert client.set("streamer:streams", "x")
        client.close()
        with pytest.raises(TransportError) as caught:
            connect(frail.url.replace("//", "//:wr0ng@"))
        assert "wr0ng" not in str(caught.value)
    finally:
        for node in frail.nodes:
            with redis.Redis(port=node.port, password="s3:cret") as direct:
                direct.config_set("requirepass", "")


def test_a_replica_takes_over(frail):
    frail.flush()
    client = connect(frail.url)
    worker = Worker(client, neighbours(3))
    worker.open()
    slot = slot_of(KEYS.lease(worker.partition))
    primary = frail.owner(slot)
    replica = frail.add_replica(primary)
    for seq in range(5):
        worker.step(seq)
    with primary.client as direct:
        assert direct.wait(1, 5_000) == 1
    primary.server.kill()
    for seq in range(5, 10):
        worker.step(seq)
    worker.check(10)
    assert worker.failures
    assert frail.owner(slot) is replica
    primary.server.start()
    frail.wait_until_ok()
    client.close()


@pytest.fixture
def valkey_port():
    port = free_port()
    with EmbeddedValkey({"port": str(port), "bind": "127.0.0.1"}):
        yield port


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://user:s3cret@127.0.0.1:1,127.0.0.1:2",
        "redis+cluster://user:s3cret@127.0.0.1:s3cret/",
        "redis+cluster://user:s3cret@127.0.0.1:1/7",
        "redis+cluster://user:s3cret@127.0.0.1:1?socket_timeout=s3cret",
        "redis+sentinel://user:s3cret@127.0.0.1:1,127.0.0.1:2/main",
        "redis+sentinel://user:s3cret@127.0.0.1:1/main?sentinel_password=s3cret",
        "redis+sentinel://user:s3cret@127.0.0.1:1",
        "redis+other://user:s3cret@127.0.0.1:1",
    ],
)
def test_no_password_in_an_error(url):
    with pytest.raises((ConfigError, TransportError)) as caught:
        connect(url)
    assert "s3cret" not in str(caught.value)
