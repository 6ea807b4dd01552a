"""What an ingest worker makes of the registry, on a real Valkey."""

from __future__ import annotations

import pytest

from streamer.core.feature import StreamStatus
from streamer.runtime.wanted import REMEMBER_SECONDS, WantedStreams
from streamer.telemetry.observer import Observers
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

OLD, NEW = b'{"url":"old.mp4"}', b'{"url":"new.mp4"}'


@pytest.fixture
def registry(valkey):
    client = connect(valkey.url)
    yield StreamRegistry(client, keys=Keys())
    client.close()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def wanted(registry, now):
    return WantedStreams(registry, Observers(), clock=lambda: now[0])


def test_what_is_to_be_read_and_what_is_to_be_said(registry, wanted):
    for stream_id in ("read", "paused", "removed", "said", "finished", "over"):
        registry.add(stream_id, OLD)
    registry.update("paused", paused=True)
    registry.say_paused("said", registry.update("said", paused=True))
    registry.remove("removed")
    registry.finish("finished", OLD)
    registry.finish("over", OLD)
    registry.update("over", paused=True)
    wanted.refresh()
    assert wanted.sources == {"read": OLD}
    assert wanted.stopping == {"paused": StreamStatus.PAUSED, "removed": StreamStatus.ENDED}


def test_a_file_that_ends_just_when_another_is_wanted_does_not_end_that_one(registry, wanted):
    registry.add("cam", OLD)
    registry.update("cam", source=NEW)
    wanted.refresh()
    wanted.conclude("cam", source=OLD)
    assert registry.finished() == {}
    wanted.refresh()
    assert wanted.sources == {"cam": NEW}


def test_what_is_over_is_not_begun_again_because_redis_forgot_it(registry, wanted, now):
    registry.add("file", OLD)
    registry.add("paused", OLD)
    registry.update("paused", paused=True)
    wanted.refresh()
    forgotten = registry.entries()["paused"]
    for stream_id in ("file", "paused"):
        wanted.conclude(stream_id, source=OLD)
    assert registry.get("paused").pause_said
    # Redis loses its newest writes.
    registry.update("paused", paused=False)
    registry.update("paused", paused=True)
    assert registry.get("paused") == forgotten
    registry._begin_anew("file")
    wanted.doubt()
    wanted.refresh()
    assert (wanted.sources, wanted.stopping) == ({}, {})
    assert registry.finished() == {"file": OLD}
    assert registry.get("paused").pause_said
    # After a while a source that is wanted again is one that is wanted again.
    now[0] += REMEMBER_SECONDS + 1
    registry._begin_anew("file")
    wanted.doubt()
    wanted.refresh()
    assert wanted.sources == {"file": OLD}
