"""Workers under a real server: killed ones come back, and the log is what its input makes."""

from __future__ import annotations

import contextlib
import time

import pytest

from streamer.transport.keys import Keys
from tests.faults.binaries import binary_of
from tests.faults.clips import write_clips
from tests.faults.evidence import collect, settled
from tests.faults.farm import Farm, want
from tests.faults.oracle import (
    check_admitted,
    check_sequences,
    compare_events,
    compare_states,
    fold_offline,
)
from tests.faults.server import FaultyServer


@pytest.fixture
def server(tmp_path):
    with FaultyServer(binary_of("valkey"), tmp_path / "server") as running:
        yield running


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_killed_workers_come_back_and_the_log_is_the_fold(server, fault_model, tmp_path):
    settings = {
        "bundle": fault_model.bundle.path,
        "encoder.name": fault_model.encoder_path,
        "temporal.lease_seconds": 1,
    }
    clips = write_clips(tmp_path / "clips", seeds=range(3), seconds=20)
    streams = want(server.url, *(f"cam{i}={clip}" for i, clip in enumerate(clips)))
    farm = Farm(server.url, tmp_path / "logs", settings=settings)
    with contextlib.closing(server.client()) as client, farm:
        until(lambda: client.xlen(Keys().events(0)) > 10)
        first = farm.posts["temporal", 0].worker.pid
        farm.kill("temporal")
        farm.kill("encoder", 1)
        until(lambda: farm.posts["temporal", 0].ended[-9] == 1)
        farm.wait_ready(seconds=30)
        assert farm.posts["temporal", 0].worker.pid != first
        farm.pause("ingest")
        farm.resume("ingest")
        until(lambda: not settled(client, streams, keys=Keys()) and _ended(client) >= len(streams))
        assert farm.posts["temporal", 0].metrics()[("streamer_active_streams",)] == 3
        assert farm.posts["temporal", 0].rss_bytes() > 1e7
        found = collect(client, streams, keys=Keys(), aof_file=server.aof_file)
    rows = {stream_id: stored.row for stream_id, stored in found.stored.items()}
    folded = fold_offline(fault_model.bundle, found.entries, rows=rows)
    assert compare_events(found.events, folded) == []
    assert compare_states(found.stored, folded) == []
    assert check_sequences(found.events) == []
    assert check_admitted(found.entries) == ([], [])
    assert all(len(own.events) > 20 for own in folded.values())


def _ended(client):
    return sum(b'"state":"ended"' in f[b"event"] for _, f in client.xrange(Keys().events(0)))
