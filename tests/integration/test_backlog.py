"""What waits in the frame path and in the input log, of a real server."""

from __future__ import annotations

import contextlib

import pytest

from streamer.core.errors import TransportError
from streamer.testing.clock import ManualClock
from streamer.transport.backlog import STREAMS_AT_ONCE, FrameBacklog, InputBacklog
from streamer.transport.codec import StampWire, encode_input, encode_note, encode_stamp
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from tests.samples import chunk, note, stamp
from tests.servers import CLUSTER, serving

KEYS = Keys(4)


@pytest.fixture(scope="module", params=["valkey", CLUSTER])
def shared(request):
    with serving(request.param, request) as server, contextlib.closing(connect(server.url)) as made:
        yield made


@pytest.fixture
def client(shared):
    yield shared
    for key in shared.scan_iter(match="streamer:{*"):
        shared.delete(key)


@pytest.fixture
def clock():
    made = ManualClock()
    made.advance(100)
    return made


def put_frame(client, stream_id, seq, *, ready):
    wire = StampWire.of(stamp(stream_id, seq, ready=ready), shape=(8, 8, 3))
    client.xadd(KEYS.frames(stream_id), {"e": encode_stamp(wire)}, id=f"{1000 + seq}-0")


def put_input(client, stream_id, entry, *, at):
    client.xadd(KEYS.features(stream_id), {"e": encode_input(entry)}, id=f"{at}-0")
    client.hset(KEYS.source(stream_id), "last_us", at)


def test_nothing_waits(client, clock):
    frames = FrameBacklog(keys=KEYS, clock=clock).measure(client, ["a", "b"])
    lag = InputBacklog(keys=KEYS, clock=clock).measure(client, [])
    assert (frames.entries, frames.oldest_seconds) == (0, 0)
    assert (lag.frames, lag.oldest_seconds, lag.late_streams) == (0, 0, 0)


def test_frames_wait_since_they_were_ready(client, clock):
    backlog = FrameBacklog(keys=KEYS, clock=clock)
    put_frame(client, "a", 0, ready=clock.mark())
    clock.advance(1.5)
    put_frame(client, "a", 1, ready=clock.mark())
    put_frame(client, "b", 0, ready=clock.mark())
    client.xadd(KEYS.frames("c"), {"e": encode_note(note("c", ready=clock.mark()))}, id="5-0")
    clock.advance(0.5)
    waiting = backlog.measure(client, ["a", "b", "c", "elsewhere"])
    assert waiting.entries == 4
    assert waiting.oldest_seconds == pytest.approx(2.0)
    client.delete(KEYS.frames("a"))
    assert backlog.measure(client, ["a", "b"]).oldest_seconds == pytest.approx(0.5)


def test_frames_of_another_host_wait_since_they_were_first_seen(client, clock):
    """No clock of another host is subtracted from ours."""
    backlog = FrameBacklog(keys=KEYS, clock=clock)
    put_frame(client, "a", 0, ready=stamp().ready)
    client.xadd(KEYS.frames("b"), {"e": b"of nobody"}, id="5-0")
    assert backlog.measure(client, ["a", "b"]).oldest_seconds == 0
    clock.advance(3)
    assert backlog.measure(client, ["a", "b"]).oldest_seconds == pytest.approx(3)
    for stream_id in ("a", "b"):
        client.delete(KEYS.frames(stream_id))
    put_frame(client, "a", 1, ready=stamp().ready)
    assert backlog.measure(client, ["a", "b"]).oldest_seconds == 0


def test_the_lag_of_the_input_is_counted_in_frames(client, clock):
    backlog = InputBacklog(keys=KEYS, clock=clock)
    ready = clock.mark()
    for seq in range(0, 30, 3):
        put_input(client, "a", chunk("a", seq, length=3, ready=ready), at=100 + seq)
    client.hset(KEYS.state("a"), "position", 100 + 9)
    put_input(client, "b", chunk("b", 0, ready=ready), at=50)
    client.hset(KEYS.state("b"), "position", 50)
    clock.advance(0.9)
    put_input(client, "c", chunk("c", 4, ready=clock.mark()), at=70)
    clock.advance(0.4)
    lag = backlog.measure(client, ["a", "b", "c"])
    assert lag.frames == (30 - 12) + 1
    assert lag.oldest_seconds == pytest.approx(1.3)
    assert lag.late_streams == 1


def test_notes_and_openings_in_the_input(client, clock):
    backlog = InputBacklog(keys=KEYS, clock=clock)
    ready = clock.mark()
    put_input(client, "note", note("note", ready=ready), at=10)
    put_input(client, "ended", chunk("ended", 5, length=2, ready=ready), at=10)
    put_input(client, "ended", note("ended", ready=ready), at=11)
    put_input(client, "anew", chunk("anew", 90, ready=ready), at=10)
    put_input(client, "anew", chunk("anew", 0, length=4, epoch=2, ready=ready), at=11)
    clock.advance(2)
    assert backlog.measure(client, ["note"]).frames == 0
    assert backlog.measure(client, ["note"]).late_streams == 1
    assert backlog.measure(client, ["ended"]).frames == 2
    assert backlog.measure(client, ["anew"]).frames == 4


def test_more_streams_than_are_read_at_once(client, clock):
    streams = [f"cam{n}" for n in range(2 * STREAMS_AT_ONCE + 3)]
    for stream_id in streams:
        put_frame(client, stream_id, 0, ready=clock.mark())
        put_input(client, stream_id, chunk(stream_id, 0, length=2, ready=clock.mark()), at=9)
    clock.advance(1)
    waiting = FrameBacklog(keys=KEYS, clock=clock).measure(client, streams)
    lag = InputBacklog(keys=KEYS, clock=clock).measure(client, streams)
    assert waiting.entries == len(streams)
    assert lag.frames == 2 * len(streams)
    assert lag.late_streams == 0


def test_keys_that_are_not_ours_are_passed_over_and_damage_too(client, clock):
    client.set(KEYS.frames("a"), "mine")
    client.set(KEYS.source("a"), "mine")
    client.set(KEYS.features("b"), "mine")
    client.hset(KEYS.source("b"), "last_us", 5)
    client.xadd(KEYS.features("c"), {"x": b"?"}, id="5-0")
    client.hset(KEYS.source("c"), "last_us", 5)
    put_frame(client, "d", 0, ready=clock.mark())
    assert FrameBacklog(keys=KEYS, clock=clock).measure(client, ["a", "d"]).entries == 1
    lag = InputBacklog(keys=KEYS, clock=clock).measure(client, ["a", "b", "c"])
    assert (lag.frames, lag.oldest_seconds) == (0, 0)


def test_a_server_that_is_gone_is_an_error(valkey, clock):
    with contextlib.closing(connect(valkey.url)) as client:
        put_frame(client, "a", 0, ready=clock.mark())
        valkey.kill()
        for backlog in (FrameBacklog(keys=KEYS, clock=clock), InputBacklog(keys=KEYS, clock=clock)):
            with pytest.raises(TransportError) as failure:
                backlog.measure(client, ["a"])
            assert failure.value.retryable
