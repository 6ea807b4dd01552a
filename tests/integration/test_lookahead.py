"""Bundles that look ahead in running temporal workers: served, killed, swapped, replayed."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise

import pytest

from streamer.core.event import EventType
from streamer.models.bundle import Bundle
from streamer.state.redis import RedisCheckpointStore
from streamer.transport.model_registry import ModelRegistry, WantedModel
from tests.bundles import ahead_bundle
from tests.workers import Farm, replay

STREAMS = ("one", "two", "three")
SOURCES = [f"{name}=synthetic:workcell?fps=5&seed={3 + n}" for n, name in enumerate(STREAMS)]
KEPT = {"redis__replay_seconds": 300, "temporal__lease_seconds": 1}
AHEAD = 4


@pytest.fixture
def farm(valkey, tmp_path):
    farm = Farm(valkey.url, tmp_path)
    with contextlib.closing(farm):
        farm.want(*SOURCES)
        yield farm


def want(farm, bundle):
    wanted = WantedModel(model_id=bundle.model_id, bundle=str(bundle.path))
    ModelRegistry(farm.client, keys=farm.keys).want(wanted)


def own_events(farm, name):
    return [event for event in farm.events() if event.stream_id == name]


def all_said_by(farm, bundle, *, num=3):
    """Whether every stream has so many decisions of a model."""
    decided = [
        event.stream_id
        for event in farm.events()
        if event.data.model_id == bundle.model_id and hasattr(event.data, "decision_delay_seconds")
    ]
    return all(decided.count(name) >= num for name in STREAMS)


def states(farm):
    stored = RedisCheckpointStore(farm.client, keys=farm.keys).load(STREAMS)
    return [one.checkpoint.state for one in stored.values()]


def assert_equal_when_replayed(farm, bundle):
    result = replay(farm, "--bundle", str(bundle.path), "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert {line["stream"]: line["verdict"] for line in lines} == dict.fromkeys(STREAMS, "equal")
    return sum(line["num_states"] for line in lines)


def test_a_worker_killed_in_the_middle_of_a_window_changes_nothing(farm, tmp_path):
    bundle = ahead_bundle(tmp_path / "ahead", lookahead_frames=AHEAD)
    served = {"bundle": str(bundle.path)}
    temporal = farm.start("temporal", "ingest", "encoder", **served, **KEPT)[0]
    farm.wait_for(lambda: all_said_by(farm, bundle, num=1))
    temporal._process.kill()
    temporal._process.wait()
    assert {state.num_waiting for state in states(farm)} == {AHEAD}
    farm.start("temporal", **served, **KEPT)
    num = 4
    farm.wait_for(lambda: all_said_by(farm, bundle, num=num), seconds=60)
    for name in STREAMS:
        farm.registry.remove(name)
    ended = EventType.STREAM_STATUS
    farm.wait_for(
        lambda: all(
            own_events(farm, name)[-1].type is ended
            and own_events(farm, name)[-1].data.state == "ended"
            for name in STREAMS
        )
    )
    assert {state.num_waiting for state in states(farm)} == {0}
    assert assert_equal_when_replayed(farm, bundle) > 0
    for state in states(farm):
        own = own_events(farm, state.stream_id)
        assert [event.number for event in own] == list(range(len(own)))
        waits = [
            event.data.latency.lookahead_wait_seconds
            for event in own
            if hasattr(event.data, "decision_delay_seconds")
            # The last frames wait for none.
            and event.data.frame.seq < state.next_seq - AHEAD
        ]
        # Each frame comes by itself, so those ahead are ready later.
        assert min(waits) > 0


def test_bundles_with_and_without_a_look_ahead_take_over_from_each_other(farm, tmp_path):
    history = [
        Bundle.load("workcell"),
        ahead_bundle(tmp_path / "four", lookahead_frames=AHEAD),
        ahead_bundle(tmp_path / "two", lookahead_frames=2),
    ]
    farm.start("temporal", "ingest", "encoder", **KEPT)
    farm.wait_for(lambda: all_said_by(farm, history[0], num=1))
    for bundle in (*history[1:], history[0]):
        want(farm, bundle)
        seen = len([e for e in farm.events() if e.data.model_id == bundle.model_id])
        farm.wait_for(
            lambda bundle=bundle, seen=seen: (
                len([e for e in farm.events() if e.data.model_id == bundle.model_id]) > seen + 6
                and all_said_by(farm, bundle, num=1)
                and {state.model_id for state in states(farm)} == {bundle.model_id}
            ),
            seconds=60,
        )
    for name in STREAMS:
        own = own_events(farm, name)
        assert [event.number for event in own] == list(range(len(own)))
        changed = [event for event in own if event.type is EventType.MODEL_CHANGED]
        ids = [bundle.model_id for bundle in (*history, history[0])]
        assert [(e.data.previous_model_id, e.data.model_id) for e in changed] == [*pairwise(ids)]
        left = [
            own[event.number + 1].data.missing_frames
            for event in changed
            if own[event.number + 1].type is EventType.STREAM_GAP
        ]
        # What waited when the model of four, then that of two, was left.
        assert left == [AHEAD, 2]
    for bundle in history:
        assert_equal_when_replayed(farm, bundle)
