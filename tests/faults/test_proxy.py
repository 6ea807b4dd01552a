"""Each fault of the wire truly happens, and only to function calls."""

from __future__ import annotations

import contextlib
import time

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamer.transport.connection import PREFIX, load_functions
from tests.faults.binaries import binary_of
from tests.faults.plan import Fault, Plan
from tests.faults.proxy import FaultProxy
from tests.faults.resp import commands
from tests.faults.server import FaultyServer

LEASE = "lease"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with FaultyServer(binary_of("valkey"), tmp_path_factory.mktemp("server")) as running:
        with running.client() as client:
            load_functions(client)
        yield running


@pytest.fixture
def proxied(server):
    """Makes a proxy that does one fault to every function call, and a client of it."""
    made = []

    def make(*kinds, ratio=1.0, **delays):
        plan = Plan(1, ratio=ratio, kinds=kinds, **delays)
        proxy = FaultProxy(server.port, plan=plan)
        proxy.__enter__()
        client = redis.Redis(
            port=proxy.port, socket_timeout=0.5, retry=Retry(NoBackoff(), 0), protocol=2
        )
        made.append((proxy, client))
        with server.client() as direct:
            direct.delete(LEASE)
        return plan, proxy, client

    yield make
    for proxy, client in made:
        client.close()
        proxy.__exit__(None, None, None)


def acquire(client, owner="me"):
    (generation,) = client.fcall(PREFIX + "acquire", 1, LEASE, owner, 0)
    return generation


def generation(server):
    with server.client() as client:
        return int(client.hget(LEASE, "generation") or 0)


def test_without_a_fault_everything_passes(proxied, server):
    plan, _, client = proxied(*Fault, ratio=0.0)
    assert acquire(client) == 1
    big = b"x" * 1_000_000
    client.set("big", big)
    assert client.get("big") == big
    pipeline = client.pipeline(transaction=False)
    for number in range(500):
        pipeline.set(f"k{number}", number)
    assert pipeline.execute() == [True] * 500
    assert plan.calls == {"acquire": 1}


def test_cut_before_is_never_done(proxied, server):
    plan, _, client = proxied(Fault.CUT_BEFORE)
    with pytest.raises(redis.ConnectionError):
        acquire(client)
    assert generation(server) == 0
    assert plan.counts == {(Fault.CUT_BEFORE, "acquire"): 1}


def test_cut_after_is_done_and_not_heard_of(proxied, server):
    _, _, client = proxied(Fault.CUT_AFTER)
    with pytest.raises(redis.ConnectionError):
        acquire(client)
    assert generation(server) == 1
    assert client.ping()  # on a new connection: only calls of functions suffer


def test_swallow_is_done_and_times_out(proxied, server):
    _, _, client = proxied(Fault.SWALLOW)
    with pytest.raises(redis.TimeoutError):
        acquire(client)
    assert generation(server) == 1


def test_half_open_is_not_done_and_times_out(proxied, server):
    _, proxy, client = proxied(Fault.HALF_OPEN)
    with pytest.raises(redis.TimeoutError):
        acquire(client)
    assert generation(server) == 0
    proxy.heal()
    assert acquire(client) == 1


def test_delay_is_done_later(proxied, server):
    _, _, client = proxied(Fault.DELAY, delay_seconds=(0.2, 0.3))
    begun = time.monotonic()
    assert acquire(client) == 1
    assert time.monotonic() - begun > 0.2


def test_late_is_done_when_nobody_waits_any_more(proxied, server):
    _, _, client = proxied(Fault.LATE, late_seconds=(0.8, 0.8))
    with pytest.raises(redis.TimeoutError):
        acquire(client)
    assert generation(server) == 0
    deadline = time.monotonic() + 5
    while generation(server) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_in_a_pipeline_what_came_before_the_call_is_answered(proxied, server):
    _, _, client = proxied(Fault.CUT_AFTER)
    client.delete("a", "b")
    pipeline = client.pipeline(transaction=False)
    pipeline.set("a", 1)
    pipeline.fcall(PREFIX + "acquire", 1, LEASE, "me", 0)
    pipeline.set("b", 1)
    with pytest.raises(redis.ConnectionError):
        pipeline.execute()
    assert generation(server) == 1
    assert (client.get("a"), client.get("b")) == (b"1", None)


def test_every_kind_meets_every_function_and_the_seed_decides(server):
    def drawn(seed):
        plan = Plan(seed, ratio=0.5)
        return [plan.draw(name) for _ in range(60) for name in ("acquire", "commit")], plan

    first, plan = drawn(7)
    assert set(plan.counts) == {(kind, name) for kind in Fault for name in ("acquire", "commit")}
    assert drawn(7)[0] == first
    assert drawn(8)[0] != first


def test_a_frozen_wire_moves_nothing_until_it_is_thawed(proxied, server):
    _, proxy, client = proxied(*Fault, ratio=0.0)
    proxy.freeze()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.thaw()
    assert client.ping()


def test_clients_reach_another_server_after_a_switch(proxied, server, tmp_path):
    _, proxy, client = proxied(*Fault, ratio=0.0)
    client.set("who", "first")
    with FaultyServer(binary_of("valkey"), tmp_path) as second:
        with second.client() as direct:
            direct.set("who", "second")
        proxy.switch(second.port)
        with contextlib.suppress(redis.ConnectionError):  # its old connection
            client.get("who")
        assert client.get("who") == b"second"


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_command_split_across_reads_is_recognised_when_it_is_whole(cut):
    whole = b"*2\r\n$5\r\nFCALL\r\n$4\r\nname\r\n" + b"PING\r\n" + b"*1\r\n$4\r\nPING\r\n"
    found = list(commands(whole[:cut]))
    assert [c.end for c in found] == [end for end in (25, 31, 45) if end <= cut]
    assert [c.function for c in commands(whole)] == ["name", None, None]
