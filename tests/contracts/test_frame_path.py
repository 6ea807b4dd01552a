"""The frame path's contract: in memory, by shared memory, and with the pixels inside Redis."""

from __future__ import annotations

import threading
from itertools import product

import numpy as np
import pytest

from streamer.core.errors import TransportError
from streamer.core.feature import StatusNote
from streamer.core.trace import TraceContext
from streamer.telemetry.records.ingest import FramesRefused, FramesSent
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.frame_receiver import RedisFrameReceiver
from streamer.transport.frame_sender import RedisFrameSender
from streamer.transport.keys import Keys
from streamer.transport.memory import MemoryFramePath
from streamer.transport.pixels import InlinePixels, PixelReader, SharedMemoryPixels
from streamer.transport.redis import RedisStreamLog
from streamer.transport.shm import PREFIX, RingReader, RingWriter, sweep
from tests.samples import frame, note
from tests.servers import CLUSTER, SERVERS, serving

SLOTS = 4
TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(
    params=["memory", *product(("shared_memory", "inline"), (*SERVERS, CLUSTER))], ids=str
)
def path(request, tmp_path):
    """Sender and receiver, of the streams `cam` and `two`."""
    if request.param == "memory":
        both = MemoryFramePath(num_slots=SLOTS)
        both.assign({"cam", "two"})
        yield both, both
        both.close()
        return
    carrier, kind = request.param
    with serving(kind, request) as server:
        client = connect(server.url)
        shared = carrier == "shared_memory"
        pixels = (
            SharedMemoryPixels(num_slots=SLOTS, directory=tmp_path) if shared else InlinePixels()
        )
        keys = Keys(64 if kind == CLUSTER else 1)  # the streams lie in two slots
        log = RedisStreamLog(client, keys=keys)
        for stream_id in ("cam", "two"):
            log.open_source(stream_id, session="s1")
        sender = RedisFrameSender(client, keys=keys, pixels=pixels, num_slots=SLOTS)
        receiver = RedisFrameReceiver(client, keys=keys, pixels=PixelReader(directory=tmp_path))
        receiver.assign({"cam", "two"})
        yield sender, receiver
        sender.close()
        receiver.close()
        client.close()


def receive(path, num):
    """What comes, until there are `num` items or nothing more."""
    sender, receiver = path
    items = []
    for _ in range(20):
        sender.flush(timeout_seconds=0.01)
        items += receiver.receive(timeout_seconds=0.01)
        if len(items) >= num:
            break
    return items


def pixels_of(handle):
    image = np.zeros((8, 8, 3), np.uint8)
    assert handle.read_into(image)
    assert (image == image[0, 0, 0]).all()
    return int(image[0, 0, 0])


def test_frames_arrive_with_stamp_and_pixels(path):
    sent = [frame("cam", 1), frame("two", 2)]
    for one in sent:
        assert path[0].send(one, wait=False)
    handles = receive(path, 2)
    got = {handle.stamp.stream_id: handle for handle in handles}
    assert got["cam"].stamp == sent[0].stamp
    assert got["two"].stamp == sent[1].stamp
    assert [pixels_of(got["cam"]), pixels_of(got["two"])] == [1, 2]


def test_a_sampled_frame_arrives_with_its_trace_and_is_reported(path):
    sent = [frame(seq=0), frame(seq=1, trace=TRACE)]
    told = []
    for one in sent:
        path[0].send(one, wait=False)
    if hasattr(path[0], "_call"):  # in memory nobody reports it: that path is not traced
        told = path[0].flush(timeout_seconds=0.01)
        assert [stamp.trace for record in told for stamp in record.traced] == [TRACE]
    assert [handle.stamp.trace for handle in receive(path, 2)] == [None, TRACE]


def test_notes_keep_their_place_among_the_frames(path):
    sender = path[0]
    sender.note(note())
    sender.send(frame(seq=1), wait=False)
    sender.note(note(entry_us=frame(seq=2).stamp.entry_us, note_seq=1))
    items = receive(path, 3)
    assert [isinstance(item, StatusNote) for item in items] == [True, False, True]
    assert items[0] == note()


def test_the_newest_frames_win(path):
    for seq in range(10):
        path[0].send(frame(seq=seq), wait=False)
    handles = receive(path, SLOTS)
    seqs = [handle.stamp.seq for handle in handles]
    assert seqs == [6, 7, 8, 9]
    assert [pixels_of(handle) for handle in handles] == seqs


def test_a_frame_overtaken_while_it_is_being_sent_is_counted_once(path, monkeypatch):
    sender, offered = path[0], 0

    def offer():
        nonlocal offered
        for _ in range(SLOTS):
            sender.send(frame(seq=offered), wait=False)
            offered += 1

    offer()
    if hasattr(sender, "_call"):  # in memory nothing is ever on its way
        call = sender._call

        def slow(*args):
            monkeypatch.setattr(sender, "_call", call)
            offer()  # the camera goes on
            return call(*args)

        monkeypatch.setattr(sender, "_call", slow)
    told = [record for _ in range(3) for record in sender.flush(timeout_seconds=0)]
    assert sum(record.frames_by_stream["cam"] for record in told) == offered


def test_notes_are_not_lost_to_frames(path):
    path[0].note(note())
    for seq in range(20):
        path[0].send(frame(seq=seq), wait=False)
        path[0].flush(timeout_seconds=0)
    items = receive(path, SLOTS + 1)
    assert items[0] == note()
    assert [handle.stamp.seq for handle in items[1:]] == [16, 17, 18, 19]


def test_a_recorded_source_waits_and_loses_nothing(path):
    sender, receiver = path
    done = []

    def camera():
        for seq in range(25):
            sender.send(frame(seq=seq), wait=True)
        done.append(True)

    thread = threading.Thread(target=camera)
    thread.start()
    seqs = []
    while len(seqs) < 25:
        sender.flush(timeout_seconds=0.01)
        for handle in receiver.receive(timeout_seconds=0.01):
            assert pixels_of(handle) == handle.stamp.seq
            seqs.append(handle.stamp.seq)
            receiver.done({"cam": handle.position})
    thread.join(5)
    assert done == [True]
    assert seqs == list(range(25))


def test_closing_wakes_a_waiting_source(path):
    sender, _ = path
    refused = []

    def camera():
        for seq in range(25):
            if not sender.send(frame(seq=seq), wait=True):
                refused.append(seq)
                return

    thread = threading.Thread(target=camera)
    thread.start()
    for _ in range(10):
        sender.flush(timeout_seconds=0.005)
    sender.close()
    thread.join(5)
    assert not thread.is_alive()
    assert len(refused) == 1


def test_a_paused_stream_stays_where_it_is(path):
    sender, receiver = path
    sender.send(frame("cam", 1), wait=False)
    sender.send(frame("two", 2), wait=False)
    sender.flush(timeout_seconds=0.01)
    first = receiver.receive(timeout_seconds=0.01, paused={"cam"})
    assert [handle.stamp.stream_id for handle in first] == ["two"]
    rest = receiver.receive(timeout_seconds=0.01)
    assert [handle.stamp.stream_id for handle in rest] == ["cam"]


def test_a_refusal_names_a_key_only_if_it_is_foreign():
    with EmbeddedValkey() as server:
        client = connect(server.url)
        keys = Keys()
        log = RedisStreamLog(client, keys=keys)
        log.open_source("cam", session="another")
        log.open_source("two", session="s1")
        client.set(keys.frames("two"), "not ours")
        sender = RedisFrameSender(client, keys=keys, pixels=InlinePixels())
        for stream_id in ("cam", "two"):
            assert sender.send(frame(stream_id), wait=False)
        sent, *refused = sender.flush(timeout_seconds=0.01)
        assert isinstance(sent, FramesSent)
        assert refused == [
            FramesRefused("cam", "fenced", frames=1),
            FramesRefused("two", "foreign", frames=1, key=keys.frames("two")),
        ]
        sender.close()
        client.close()


def test_a_wrong_shape_is_refused(tmp_path):
    pixels = SharedMemoryPixels(num_slots=2, directory=tmp_path)
    wire = pixels.put(frame())
    with pytest.raises(TransportError, match=r"expects pictures of \(4, 4, 3\).*\(8, 8, 3\)"):
        PixelReader(directory=tmp_path).read_into(wire, np.zeros((4, 4, 3), np.uint8))
    pixels.close()


def test_an_overtaken_reader_notices(tmp_path):
    writer = RingWriter(shape=(8, 8, 3), num_slots=2, directory=tmp_path)
    reader = RingReader(writer.name, directory=tmp_path)
    image = np.zeros((8, 8, 3), np.uint8)
    first = writer.write(frame(seq=1).image)
    assert reader.read_into(first, image)
    writer.write(frame(seq=2).image)
    third = writer.write(frame(seq=3).image)
    assert not reader.read_into(first, image)
    assert reader.read_into(third, image)
    assert image[0, 0, 0] == 3
    reader.close()
    writer.close()


def test_pixels_of_a_writer_that_is_gone_are_gone(tmp_path):
    pixels = SharedMemoryPixels(num_slots=2, directory=tmp_path)
    wire = pixels.put(frame())
    pixels.close()
    assert list(tmp_path.iterdir()) == []
    assert not PixelReader(directory=tmp_path).read_into(wire, np.zeros((8, 8, 3), np.uint8))


def test_sweeping_removes_only_what_a_crash_left(tmp_path):
    alive = RingWriter(shape=(8, 8, 3), num_slots=2, directory=tmp_path)
    (tmp_path / f"{PREFIX}99999999-crashed").write_bytes(b"\0" * 100)
    assert sweep(tmp_path) == [f"{PREFIX}99999999-crashed"]
    assert [path.name for path in tmp_path.iterdir()] == [alive.name]
    alive.close()


def test_a_name_that_is_no_ring_is_refused(tmp_path):
    (tmp_path / f"{PREFIX}1-x").write_bytes(b"not a ring" * 100)
    for name in ("../../etc/passwd", "other", f"{PREFIX}1-x", f"{PREFIX}missing"):
        with pytest.raises(TransportError):
            RingReader(name, directory=tmp_path)


def test_full_shared_memory_is_one_clear_error(tmp_path, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", no_room)
    with pytest.raises(TransportError, match="shared memory full: a camera needs"):
        RingWriter(shape=(8, 8, 3), num_slots=2, directory=tmp_path)
    assert list(tmp_path.iterdir()) == []
