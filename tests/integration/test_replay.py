"""Replay and verification over a real server: what pumps wrote, recomputed."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from streamer.core.errors import ConfigError, StateError
from streamer.core.feature import StreamStatus
from streamer.runtime.pump import MAX_ENTRIES_PER_STREAM
from streamer.runtime.replay import Outcome, replay
from streamer.runtime.verify import verify
from streamer.state.history import RedisHistory
from streamer.transport.connection import connect, connect_to_read
from streamer.transport.keys import Keys
from streamer.transport.state_codec import decode_state, encode_state
from tests.plant import KEYS, Plant, drain, position_of, stage
from tests.samples import note


def test_everything_from_the_first_entry_on_is_recomputed(plant):
    live = note("cam", StreamStatus.LIVE)
    plant.log.publish([live], previous={})
    for _ in range(3):  # three workers after one another
        plant.fold()
    found = plant.verify()
    assert found.difference is None
    assert found.remarks == []
    assert (found.first, found.num_events) == (0, len(plant.events()))
    assert found.num_states == 3
    stretches = list(replay(plant.past.read("cam"), stage()))
    said = [event for stretch in stretches for event in stretch.events]
    assert [e.id for e in said] == [fields[b"id"].decode() for _, fields in plant.events()]
    assert stretches[0].start.version == b""


def test_chunks_of_the_replay_change_nothing(plant, monkeypatch):
    plant.fold(num=70)
    for size in (1, 7, 1000):
        monkeypatch.setattr("streamer.runtime.replay.ENTRIES_AT_ONCE", size)
        assert plant.verify().difference is None


def test_a_replay_begins_at_the_anchor_before_and_shows_what_was_asked_for(plant):
    for _ in range(4):
        plant.fold()
    history = plant.past.read("cam")
    start_us = position_of(70)
    stretches = list(replay(history, stage(), start_us=start_us))
    assert stretches[0].start.position == position_of(60) - 1
    shown = [e for s in stretches for e in s.events[s.num_before :]]
    assert shown
    assert all(e.data.frame.seq > 70 for e in shown)
    hidden = stretches[0].events[: stretches[0].num_before]
    assert all(e.data.frame.seq <= 70 for e in hidden)
    assert plant.verify(start_us=start_us).num_states == 2


def test_only_what_is_asked_for_is_kept(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=5.0)
        for _ in range(4):
            plant.fold()
        stretches = list(replay(plant.past.read("cam"), stage()))
        assert stretches[0].start.position >= position_of(120 - 51)
        found = plant.verify()
        assert found.difference is None
        assert found.first > 0
        # After a pause longer than that, the first step can still be recomputed.
        plant.publish(10, first=plant.seq + 1000)
        drain(plant.pump())
        found = plant.verify()
        assert found.difference is None
        assert (found.num_states, found.remarks) == (1, [])


def test_without_anchors_it_says_what_to_set(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, replay_seconds=0)
        plant.fold()
        with pytest.raises(StateError, match=r"redis\.replay_seconds"):
            plant.verify()


def test_features_that_gave_way_are_stated(server):
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        plant = Plant(client, max_unread=40)
        plant.fold(num=20)
        plant.fold(num=20)
        plant.publish(1)  # the log is full: what was folded in gives way
        drain(plant.pump())
        found = plant.verify()
        assert found.difference is None
        assert len(found.remarks) == 2
        assert "redis.max_unread_entries" in found.remarks[0]
        assert found.num_states == 1


def test_a_state_with_a_row_that_there_is_not(plant):
    plant.fold()
    for _ in range(2):
        plant.rewrite(KEYS.anchors("cam"), with_row(7))
    with pytest.raises(ConfigError, match=r"temporal\.rows"):
        plant.verify()


def with_row(row):
    def change(entry_id, fields):
        state = replace(decode_state(fields[b"state"]), row=row)
        return [(entry_id, fields | {b"state": encode_state(state)})]

    return change


def test_workers_go_on_meanwhile(plant):
    plant.fold()
    plant.publish(5)  # not folded in yet
    assert plant.verify().difference is None
    history = plant.past.read("cam")
    num = len(plant.events())
    drain(plant.pump())
    plant.fold()
    logged = plant.past.events(history, first=0)
    assert [event.number for event in logged.events] == list(range(num))
    assert verify(replay(history, stage()), logged).difference is None


def test_poison_is_left_out(plant):
    plant.publish(40)
    pump = plant.pump()
    pump.turn(timeout_seconds=0)
    plant.store.attempt({"cam": 3})  # three workers died at the next entry
    drain(plant.pump())
    poisoned = MAX_ENTRIES_PER_STREAM
    letters = plant.client.xrange(KEYS.dead(0))
    assert [(f[b"reason"], int(f[b"position"])) for _, f in letters] == [
        (b"poison", position_of(poisoned))
    ]
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events())
    plant.client.delete(KEYS.dead(0))  # without it the features alone say something else
    assert plant.verify().difference.field == "version"


def test_another_model_takes_over(plant):
    plant.fold()
    plant.fold(model_id="sha256:new")
    old, new = plant.verify(), plant.verify(model_id="sha256:new")
    assert old.difference is new.difference is None
    assert "the state was reset here" in old.remarks[0]
    assert "--bundle" in old.remarks[1]
    assert "--bundle" in new.remarks[0]
    assert old.last < new.first
    (changed,) = [f for _, f in plant.events() if f[b"type"] == b"streamer.model.changed"]
    assert old.last < int(changed[b"sequence"]) < new.first


def test_a_model_that_comes_and_goes_without_a_frame(plant):
    plant.fold()
    plant.pump("sha256:new")
    plant.pump("sha256:third")
    plant.fold()
    found = plant.verify()
    assert found.difference is None
    assert found.num_states == 1
    assert len(found.remarks) == 1
    assert found.num_events < len(plant.events())


def test_a_state_that_was_lost(plant):
    plant.fold()
    plant.client.hset(KEYS.state("cam"), "state", b"nonsense")
    plant.fold()
    history = plant.past.read("cam")
    outcomes = [stretch.outcome for stretch in replay(history, stage())]
    assert outcomes == [Outcome.RESET, Outcome.REACHED]
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events()) - 1  # the gap is not recomputed


def test_a_state_that_was_removed_begins_another_life(plant):
    plant.fold(num=40)
    plant.client.delete(KEYS.state("cam"))
    drain(plant.pump())
    assert len(plant.client.xrange(KEYS.anchors("cam"))) == 1
    found = plant.verify()
    assert found.difference is None
    assert found.num_events == len(plant.events()) // 2


def test_over_a_cluster(cluster):
    cluster.flush()
    with contextlib.closing(connect(cluster.url)) as client:
        plant = Plant(client, keys=Keys(8))
        plant.fold()
        plant.fold()
        assert plant.past.stream_ids() == ["cam"]
        assert RedisHistory(client, keys=Keys(7)).stream_ids() == []
        found = plant.verify()
        assert found.difference is None
        assert found.num_events == len(plant.events())
        assert found.num_states == 2
    with contextlib.closing(connect_to_read(cluster.url, of="url")) as client:
        assert RedisHistory(client, keys=Keys(8)).read("cam").anchors


def test_it_writes_nothing(plant, server):
    plant.fold()
    plant.client.function_flush()
    before = plant.client.info("commandstats").get("cmdstat_function|load", {}).get("calls", 0)
    with contextlib.closing(connect_to_read(server.url, of="url")) as client:
        past = RedisHistory(client, keys=KEYS)
        assert past.stream_ids() == ["cam"]
        past.events(past.read("cam"), first=0)
        after = client.info("commandstats").get("cmdstat_function|load", {}).get("calls", 0)
    assert before == after
