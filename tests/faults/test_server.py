"""Each fault of the server truly happens."""

from __future__ import annotations

import os
import time
from random import Random

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamer.core.errors import MemoryFullError
from streamer.transport.connection import call, connect
from tests.faults import aof
from tests.faults.clock import SkewedClock
from tests.faults.proxy import FaultProxy
from tests.faults.server import FaultyServer

LEASE = "streamer:{0}:lease"


@pytest.fixture
def server(binary, tmp_path):
    with FaultyServer(binary, tmp_path / "primary") as running:
        yield running


def add(server, numbers):
    with server.client() as client:
        for number in numbers:
            client.xadd("log", {"n": number}, id=f"{number}-0")


def seen(server):
    with server.client() as client:
        return [int(fields[b"n"]) for _, fields in client.xrange("log")]


def test_data_survives_sigkill(server):
    add(server, range(1, 50))
    server.kill()
    assert not server.running
    server.start()
    assert seen(server) == list(range(1, 50))


def test_a_torn_tail_loses_the_last_writes_and_no_others(server):
    add(server, range(1, 50))
    server.kill()
    lost = server.tear_tail(300, Random(3))
    assert lost > 0
    server.start()
    left = seen(server)
    assert left == list(range(1, len(left) + 1))
    assert 40 < len(left) < 49


@pytest.mark.parametrize("num_bytes", range(5, 170, 15))
def test_a_torn_call_is_gone_for_good(binary, tmp_path, num_bytes):
    """After one start, and after the next: the file needs the repair tool before the first."""
    with FaultyServer(binary, tmp_path / "server", fsync="always") as server:
        with server.client() as client:
            client.set("before", 1)
            transaction = client.pipeline(transaction=True)
            for name in "xyz":
                transaction.set(name, name * 20)
            transaction.execute()
        server.kill()
        with server.aof_file.open("r+b") as file:
            file.truncate(server.aof_file.stat().st_size - num_bytes)
        server.repair()
        for turn in range(3):
            server.start()
            with server.client() as client:
                assert client.mget("before", "x", "y", "z") == [b"1", None, None, None]
                assert [client.get(str(earlier)) for earlier in range(turn)] == [b"1"] * turn
                client.set(str(turn), 1)
            server.kill()


def test_whole_calls_can_be_lost(server):
    client = connect(server.url)
    add(server, range(1, 11))
    for number in range(5):
        assert call(client, "acquire", [LEASE], f"owner-{number}", 0) == [number + 1]
    server.kill()
    client.close()
    blocks = list(aof.writes(server.aof_file))
    assert blocks[-1].commands[0][0].upper() == b"HSET"
    assert server.lose_tail(num_writes=2) == 2
    server.start()
    with server.client() as client:
        assert client.hget(LEASE, "owner") == b"owner-2"
        assert client.function_list()
    assert seen(server) == list(range(1, 11))


def test_the_last_seconds_can_be_lost(server):
    add(server, range(1, 5))
    time.sleep(3.1)
    add(server, range(5, 10))
    server.kill()
    # The file tells time in whole seconds, by a clock that is read now and then.
    assert server.lose_tail(seconds=2.5) >= 1
    server.start()
    left = seen(server)
    assert left == list(range(1, len(left) + 1))
    assert 4 <= len(left) < 9


def test_a_promoted_replica_lacks_what_the_link_held_back(server, tmp_path):
    with FaultProxy(server.port) as wire, server.replica(
        tmp_path / "replica", through=wire.port
    ) as replica:  # fmt: skip
        add(server, range(1, 20))
        replica.wait_for_link()
        with server.client() as client:
            assert client.wait(1, 2000) == 1
        wire.freeze()
        add(server, range(20, 30))
        server.kill()
        replica.promote()
        assert seen(replica) == list(range(1, 20))
        add(replica, [20])
        assert seen(replica)[-1] == 20
        # What it holds is in its own file.
        replica.restart()
        assert seen(replica) == list(range(1, 21))


def test_full_memory_refuses_functions(server):
    client = connect(server.url)
    server.fill_memory()
    opening = ["streamer:{0}:source:cam", "streamer:{0}:frames:cam", "streamer:{0}:watch:cam"]
    with pytest.raises(MemoryFullError, match="maxmemory"):
        call(client, "open_source", opening, "s1", "s1", 1)
    # Those who consume go on: only they can make room.
    assert call(client, "acquire", [LEASE], "me", 1000) == [1]
    server.free_memory()
    assert call(client, "open_source", opening, "s1", "s1", 1) == [1, b"0", 0]
    client.close()


def test_a_full_disk_refuses_writes_until_there_is_room(server):
    add(server, [1])
    server.fill_disk(left_bytes=40)
    written = add_until(server, 2, refused=True)
    server.free_disk()
    written = add_until(server, written + 1, refused=False)
    server.restart()
    assert seen(server) == list(range(1, written + 1))


def add_until(server, number, *, refused):
    """Add one entry after the other until one is refused for the disk, or is not any more."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            add(server, [number])
        except redis.ResponseError as error:
            if not str(error).startswith("MISCONF"):
                raise
            if refused:
                return number - 1
            time.sleep(0.05)
        else:
            if not refused:
                return number
            number += 1
    raise AssertionError("it did not happen in time")


def test_under_always_a_full_disk_ends_the_server(binary, tmp_path):
    with FaultyServer(binary, tmp_path, fsync="always") as server:
        add(server, [1])
        server.fill_disk()
        with pytest.raises(redis.ConnectionError):
            add(server, [2])
        server.restart()
        assert seen(server) == [1]


def test_a_paused_server_does_not_answer(server):
    server.pause()
    with pytest.raises(redis.TimeoutError), redis.Redis(
        port=server.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)
    ) as client:  # fmt: skip
        client.ping()
    server.resume()
    add(server, [1])


def test_a_servers_clock_jumps(binary, tmp_path):
    clock = SkewedClock(tmp_path)
    with FaultyServer(
        binary, tmp_path / "it", environment=os.environ | clock.environment
    ) as server:

        def ahead():
            with server.client() as client:
                return client.time()[0] - time.time()

        assert abs(ahead()) < 2
        clock.jump(600)
        assert abs(ahead() - 600) < 2
        clock.jump(-600)
        assert abs(ahead() + 600) < 2
