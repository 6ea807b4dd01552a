"""The data plane on a cluster whose nodes come, die and are replaced."""

from __future__ import annotations

import os
import signal
import time

import pytest
import redis

from streamer.core.errors import TransportError
from streamer.transport.connection import Call, call_many, connect, reconnect
from tests.cluster import EmbeddedCluster, slot_of
from tests.partition_worker import KEYS, PartitionWorker, neighbours
from tests.samples import chunk
from tests.servers import SERVERS, binary_of


@pytest.fixture(scope="module", params=SERVERS)
def frail(request):
    """A cluster with an append-only file, whose nodes a test may kill or stop."""
    with EmbeddedCluster(binary=binary_of(request.param), appendonly=True) as cluster:
        yield cluster


def test_a_new_master_without_slots_takes_over_a_slot(frail):
    frail.flush()
    client = connect(frail.url)
    worker = PartitionWorker(client, neighbours(2))
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
    worker = PartitionWorker(client, neighbours(3))
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
    worker = PartitionWorker(client, neighbours(3))
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
