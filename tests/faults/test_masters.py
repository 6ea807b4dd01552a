"""Each fault of a cluster truly happens."""

from __future__ import annotations

import contextlib
from random import Random

import pytest

from streamer.core.errors import TransportError
from streamer.transport.connection import call, connect
from streamer.transport.keys import Keys
from tests.cluster import slot_of
from tests.faults.disturbances import Disturbance
from tests.faults.masters import Masters
from tests.faults.plan import Fault, Plan

KEYS = Keys(64)


@pytest.fixture
def plan():
    return Plan(1, ratio=1.0, kinds=(Fault.CUT_AFTER,))


@pytest.fixture
def masters(binary, tmp_path, plan):
    with Masters(binary, tmp_path, keys=KEYS, plan=plan, random=Random(1)) as running:
        yield running


def test_clients_are_told_of_the_proxies_alone(masters):
    proxies = {proxy.port for proxy in masters._proxies}
    for node in masters._cluster.nodes:
        with node.client as client:
            ranges = client.execute_command("CLUSTER SLOTS")
        assert {master[1] for _, _, master, *_ in ranges} == proxies
    assert not proxies & {node.port for node in masters._cluster.nodes}


def test_calls_to_every_master_go_wrong_on_the_wire(masters, plan):
    masters.hurt()
    owners = set()
    with contextlib.closing(connect(masters.url)) as client:
        for partition in range(12):
            lease = KEYS.lease(partition)
            owners.add(masters._cluster.owner(slot_of(lease)))
            with pytest.raises(TransportError):
                call(client, "acquire", [lease], "me", 1_000, 0)
            # It was done all the same.
            assert client.hget(lease, "owner") == b"me"
        assert plan.counts[Fault.CUT_AFTER, "acquire"] == 12
        masters.heal()
        assert call(client, "acquire", [KEYS.lease(0)], "me", 1_000, 0) == [1]
    assert len(owners) == 3


def test_writes_are_lost_but_no_slot_that_has_moved(masters):
    with contextlib.closing(masters.client()) as client:
        for partition in range(30):
            client.set(KEYS.lease(partition), "old")
    for _ in range(20):
        assert masters.disturb(Disturbance.MIGRATE)
    with contextlib.closing(masters.client()) as client:
        for number in range(90):
            client.set(KEYS.lease(number % 30), "new")
    assert masters.disturb(Disturbance.LOST)
    with contextlib.closing(masters.client()) as client:
        values = [client.get(KEYS.lease(partition)) for partition in range(30)]
    assert None not in values
    assert b"old" in values
