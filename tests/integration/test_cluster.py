"""The data plane on a real cluster: calls to many slots, redirects, a slot that moves."""

from __future__ import annotations

import threading
import time

import pytest

from streamer.core.errors import ConfigError, TransportError
from streamer.transport.connection import (
    Call,
    call_many,
    connect,
    load_functions,
    read_entries,
)
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.redis import RedisStreamLog
from tests.cluster import slot_of
from tests.loopback import free_port
from tests.partition_worker import KEYS, PartitionWorker, neighbours


@pytest.fixture
def client(cluster):
    cluster.flush()
    client = connect(cluster.url)
    yield client
    client.close()


def other_node(cluster, slot):
    owner = cluster.owner(slot)
    return next(node for node in cluster.nodes if node is not owner)


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
    assert 0.19 < time.monotonic() - began < 4.0  # not one wait per slot, which are 8 seconds
    pipeline = client.pipeline(transaction=False)
    for key in starts:
        for position in (5, 6, 7, 8, 9):
            pipeline.xadd(key, {"e": key}, id=f"{position}-0")
    pipeline.execute()
    read = read_entries(client, starts, limit=3, timeout_seconds=0.2)
    assert read == {key: [(at, key.encode(), b"") for at in (6, 7, 8)] for key in starts}


@pytest.mark.parametrize("stream_ids", [["cam-0"], ["cam-0", "cam-1"]], ids=["one slot", "two"])
def test_a_waiting_reader_sees_what_comes(client, cluster, stream_ids):
    starts = {KEYS.features(name): 0 for name in stream_ids}
    writer = connect(cluster.url)
    timer = threading.Timer(
        0.1, lambda: writer.xadd(KEYS.features(stream_ids[-1]), {"e": b"x"}, id="1-0")
    )
    timer.start()
    began = time.monotonic()
    assert read_entries(client, starts, limit=3, timeout_seconds=20) == {
        KEYS.features(stream_ids[-1]): [(1, b"x", b"")]
    }
    assert time.monotonic() - began < 10
    timer.join()
    writer.close()


def test_a_moved_slot_is_followed(client, cluster):
    worker = PartitionWorker(client, neighbours(2))
    worker.open()
    worker.step(0)
    slot = slot_of(KEYS.lease(worker.partition))
    cluster.migrate_slot(slot, other_node(cluster, slot))
    worker.step(1)
    worker.check(2)
    assert worker.failures == []


@pytest.mark.parametrize("atomic", [False, True], ids=["key by key", "atomic"])
def test_a_slot_moves_under_load(client, cluster, atomic):
    worker = PartitionWorker(client, neighbours(3))
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
    expected = {present: [(1, b"1", b"")]}
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
    read = read_entries(client, {key: 1}, limit=3, timeout_seconds=20)
    assert read == {key: [(2, b"new", b"")]}
    assert time.monotonic() - began < 10
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
