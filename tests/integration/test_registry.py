"""The registry of streams, changed by several at once, on a real Valkey."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

SOURCE = b'{"stream_id":"cam","url":"rtsp://host/live"}'
KEY = Keys().streams


@pytest.fixture
def client(valkey):
    client = connect(valkey.url)
    yield client
    client.close()


@pytest.fixture
def registry(client):
    return StreamRegistry(client, keys=Keys())


def test_added_at_once_each_has_a_slot_of_its_own(valkey):
    ids = [f"cam{n}" for n in range(24)]
    barrier = threading.Barrier(8)

    def add(part):
        client = connect(valkey.url)
        registry = StreamRegistry(client, keys=Keys())
        barrier.wait()
        added = [registry.add(stream_id, SOURCE) for stream_id in ids[part::8]]
        client.close()
        return added

    with ThreadPoolExecutor(8) as pool:
        entries = [entry for added in pool.map(add, range(8)) for entry in added]
    assert sorted(entry.slot for entry in entries) == list(range(24))


def test_one_of_those_who_add_the_same_name_wins(valkey):
    barrier = threading.Barrier(6)

    def add(part):
        client = connect(valkey.url)
        barrier.wait()
        added = StreamRegistry(client, keys=Keys()).add("cam", b'{"n":%d}' % part)
        client.close()
        return added

    with ThreadPoolExecutor(6) as pool:
        entries = [entry for entry in pool.map(add, range(6)) if entry is not None]
    assert len(entries) == 1


def test_changes_made_at_once_are_all_kept(valkey, registry):
    """A pause must not undo the new source that came in between, and the other way round."""
    registry.add("cam", b"0")
    barrier = threading.Barrier(2)

    def change(what):
        client = connect(valkey.url)
        own = StreamRegistry(client, keys=Keys())
        barrier.wait()
        for n in range(1, 101):
            own.update("cam", **({"source": b"%d" % n} if what else {"paused": bool(n % 2)}))
        client.close()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(change, (True, False)))
    entry = registry.get("cam")
    assert (bytes(entry.source), entry.paused) == (b"100", False)


def test_a_removed_one_keeps_its_slot_until_its_end_is_said(registry):
    registry.add("a", SOURCE)
    registry.add("b", SOURCE)
    assert registry.remove("a")
    assert not registry.remove("a")
    assert registry.get("a") is None
    assert registry.update("a", paused=True) is None
    assert registry.add("c", SOURCE).slot == 2
    assert registry.add("a", SOURCE).slot == 0
    removed = registry.read()[0]["a"]
    registry.discard("a", msgspec.structs.replace(removed, removed=True))
    assert registry.get("a") is not None  # it is wanted again


def test_a_pause_is_said_once_and_forgotten_when_resumed(registry):
    registry.add("cam", SOURCE)
    paused = registry.update("cam", paused=True)
    registry.say_paused("cam", paused)
    assert registry.update("cam", paused=True).pause_said
    resumed = registry.update("cam", paused=False)
    assert (resumed.paused, resumed.pause_said) == (False, False)
    registry.say_paused("cam", paused)  # too late
    assert registry.get("cam") == resumed


def test_an_entry_that_another_version_wrote_can_be_changed(client, registry):
    client.hset(KEY, "cam", b'{"slot": 3, "source": {}, "older": 1}')
    assert registry.update("cam", paused=True).slot == 3
    client.hset(KEY, "cam", b'{"removed": true, "slot": 3, "source": {}}')
    registry.discard("cam", registry.read()[0]["cam"])
    assert not client.hexists(KEY, "cam")


def test_what_is_no_entry_of_ours_keeps_nobody_from_adding(client, registry):
    client.hset(KEY, "odd", b"not JSON")
    assert registry.add("cam", SOURCE).slot == 0
    assert registry.remove("cam")


def test_a_file_that_was_read_is_read_again_once_it_is_resumed_or_replaced(registry):
    for change in ({"source": b"{}"}, {"paused": False}):
        registry.put("cam", SOURCE)
        registry.update("cam", paused=True)
        registry.finish("cam", SOURCE)
        registry.update("cam", **change)
        assert registry.finished() == {}
    registry.finish("cam", SOURCE)
    registry.remove("cam")  # all has been said of it
    assert registry.read() == ({}, {})
