"""What is too much for Redis is told."""

from __future__ import annotations

import pytest

from streamer.transport.keys import Keys
from tests.faults.binaries import binary_of
from tests.faults.bounds import Bounds
from tests.faults.server import FaultyServer

KEYS = Keys(2)


@pytest.fixture
def client(tmp_path):
    with FaultyServer(binary_of("valkey"), tmp_path) as server, server.client() as client:
        yield client


def test_each_key_is_held_to_its_setting(client):
    bounds = Bounds.of({"redis.max_unread_entries": 12, "ingest.frame_slots": 3})
    assert (bounds.features, bounds.frames) == (12, 3 + 64)
    for key, length in ((KEYS.features("a"), 12), (KEYS.features("b"), 13), (KEYS.frames("a"), 68)):
        for _ in range(length):
            client.xadd(key, {"e": b"x"})
    found = bounds.exceeded(client, ["a", "b"], keys=KEYS)
    assert found == {KEYS.features("b"): 13, KEYS.frames("a"): 68}


def test_bytes_go_by_what_a_short_log_can_hold():
    bounds = Bounds.of({"redis.max_unread_entries": 10})
    few = bounds.most_bytes(num_streams=2, num_entries=20, num_events=5)
    assert bounds.most_bytes(num_streams=2, num_entries=10**6, num_events=5) == few
    assert bounds.most_bytes(num_streams=3, num_entries=10**6, num_events=5) > few
