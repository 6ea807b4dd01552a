"""Another bundle in running temporal workers: real processes, real kills, a replayable log."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import defaultdict
from functools import partial
from itertools import pairwise

import pytest

from streamer.core.event import EventType, decode_event
from streamer.models.bundle import Bundle
from streamer.runtime.supervisor import child_environment
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.model_registry import CONFIGURED, ModelRegistry, WantedModel
from tests.bundles import copy_bundle
from tests.workers import Farm, get, replay, samples

STREAMS = ("one", "two", "three")
SOURCES = [f"{name}=synthetic:workcell?fps=5&seed={3 + n}" for n, name in enumerate(STREAMS)]
KEPT = {"redis__replay_seconds": 300, "temporal__lease_seconds": 1}
OLD = Bundle.load("workcell")


@pytest.fixture
def other(tmp_path):
    return copy_bundle(tmp_path / "other", decoder={"smoothing_seconds": 0.5})


@pytest.fixture
def make_farm(valkey, tmp_path):
    with contextlib.ExitStack() as stack:

        def make(*, num_partitions):
            farm = Farm(valkey.url, tmp_path, num_partitions=num_partitions)
            stack.callback(farm.close)
            farm.want(*SOURCES)
            return farm

        yield make


def want(farm, bundle):
    wanted = WantedModel(model_id=bundle.model_id, bundle=str(bundle.path))
    ModelRegistry(farm.client, keys=farm.keys).want(wanted)


def events_by_stream(farm):
    found = defaultdict(list)
    for event in farm.events():
        found[event.stream_id].append(event)
    return found


def all_seen_by(farm, bundle, *, num=3):
    """Whether the newest events of every stream are a model's."""
    found = events_by_stream(farm)
    return all(
        len(found[name]) >= num
        and {e.data.model_id for e in found[name][-num:]} == {bundle.model_id}
        for name in STREAMS
    )


def assert_changes(farm, *bundles):
    """Each stream has changed through these models and no others, and misses no event."""
    ids = [bundle.model_id for bundle in bundles]
    found = events_by_stream(farm)
    assert set(found) == set(STREAMS)
    for own in found.values():
        assert [e.number for e in own] == list(range(len(own)))
        changed = [e for e in own if e.type is EventType.MODEL_CHANGED]
        assert [(e.data.previous_model_id, e.data.model_id) for e in changed] == [*pairwise(ids)]


def assert_log_is_the_fold(farm, *bundles):
    """Recomputed under each model, everything but the changes themselves is as it was said."""
    num_compared = 0
    for bundle in bundles:
        result = replay(farm, "--bundle", str(bundle.path), "--json")
        assert result.returncode == 0, result.stdout + result.stderr
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert {line["stream"]: line["verdict"] for line in lines} == dict.fromkeys(
            STREAMS, "equal"
        )
        num_compared += sum(line["num_events"] for line in lines)
    assert num_compared == len(farm.events()) - num_said_by_changes(farm)


def num_said_by_changes(farm):
    """Events of the steps by which another model took over: what was open ends, then the change."""
    events = farm.events()
    steps = {
        (e.stream_id, e.data.timing.emitted_ns) for e in events if e.type is EventType.MODEL_CHANGED
    }
    return sum((e.stream_id, e.data.timing.emitted_ns) in steps for e in events)


def stop(farm):
    for worker in reversed(farm.workers):
        worker.terminate()
    for worker in farm.workers:
        worker.finish(deadline=time.monotonic() + 6)


def test_under_load_every_stream_changes_once_and_the_log_stays_the_fold(make_farm, other):
    farm = make_farm(num_partitions=1)
    (temporal, *_) = farm.start("temporal", "ingest", "encoder", **KEPT)
    farm.wait_for(lambda: all_seen_by(farm, OLD))
    want(farm, other)
    farm.wait_for(lambda: all_seen_by(farm, other))
    assert samples(temporal)[("streamer_model_info", other.model_id, "workcell")] == 1
    assert ("streamer_model_info", OLD.model_id, "workcell") not in samples(temporal)
    assert samples(temporal)[("streamer_state_resets_total", "model")] == len(STREAMS)
    stop(farm)
    assert_changes(farm, OLD, other)
    assert_log_is_the_fold(farm, OLD, other)


def test_what_was_asked_for_can_be_taken_back(make_farm, other):
    farm = make_farm(num_partitions=1)
    farm.start("temporal", "ingest", "encoder", **KEPT)
    farm.wait_for(lambda: all_seen_by(farm, OLD, num=1))
    want(farm, other)
    farm.wait_for(lambda: all_seen_by(farm, other, num=1))
    ModelRegistry(farm.client, keys=farm.keys).want(CONFIGURED)
    farm.wait_for(lambda: all_seen_by(farm, OLD, num=1))
    stop(farm)
    assert_changes(farm, OLD, other, OLD)
    assert_log_is_the_fold(farm, OLD, other)


def has_begun_to_load(farm, temporal, bundle):
    return "model wanted" in temporal.log_path.read_text()


def has_changed_a_stream(farm, temporal, bundle):
    return any(
        e.type is EventType.MODEL_CHANGED and e.data.model_id == bundle.model_id
        for own in events_by_stream(farm).values()
        for e in own[-10:]
    )


def test_a_worker_killed_in_the_middle_of_a_swap_ends_the_same_way(make_farm, tmp_path):
    farm = make_farm(num_partitions=4)
    temporal = farm.start("temporal", "ingest", "encoder", **KEPT)[0]
    farm.wait_for(lambda: all_seen_by(farm, OLD, num=1))
    history = [OLD]
    for number, moment in enumerate((has_begun_to_load, has_changed_a_stream)):
        smoothing = {"smoothing_seconds": 0.3 + 0.1 * number}
        bundle = copy_bundle(tmp_path / f"bundle-{number}", decoder=smoothing)
        history.append(bundle)
        want(farm, bundle)
        farm.wait_for(partial(moment, farm, temporal, bundle))
        temporal._process.kill()
        temporal._process.wait()
        (temporal,) = farm.start("temporal", **KEPT)
        farm.wait_for(partial(all_seen_by, farm, bundle))
    stop(farm)
    assert_changes(farm, *history)
    assert_log_is_the_fold(farm, *history)


def test_a_worker_without_the_wanted_model_does_not_take_streams_back(make_farm, other, tmp_path):
    """It sleeps through a swap, and wakes up where the bundle is not."""
    farm = make_farm(num_partitions=8)
    first, second, *_ = farm.start("temporal", "temporal", "ingest", "encoder", **KEPT)
    active, awaiting = ("streamer_active_streams",), ("streamer_streams_awaiting_model",)
    farm.wait_for(lambda: all_seen_by(farm, OLD, num=1))
    sleeper, awake = (first, second) if samples(first)[active] else (second, first)
    sleeper._process.send_signal(signal.SIGSTOP)
    want(farm, other)
    farm.wait_for(lambda: all_seen_by(farm, other, num=1))
    assert samples(awake)[active] == len(STREAMS)
    away = other.path.rename(tmp_path / "away")
    sleeper._process.send_signal(signal.SIGCONT)
    farm.wait_for(lambda: samples(sleeper)[awaiting] > 0)
    assert samples(sleeper)[active] == 0
    farm.wait_for(lambda: "can't be loaded" in get(sleeper, "/readyz")[1])
    away.rename(other.path)
    farm.wait_for(lambda: samples(sleeper)[active] > 0)
    assert samples(sleeper)[awaiting] == 0
    farm.wait_for(lambda: get(sleeper, "/readyz") == (200, "ready\n"))
    stop(farm)
    assert_changes(farm, OLD, other)


def test_a_worker_that_cannot_load_what_is_wanted_keeps_what_it_has_and_says_so(
    make_farm, other, tmp_path
):
    farm = make_farm(num_partitions=1)
    (temporal, *_) = farm.start("temporal", "ingest", "encoder", **KEPT)
    farm.wait_for(lambda: all_seen_by(farm, OLD, num=1))
    foreign = copy_bundle(
        tmp_path / "foreign", config={"encoder_id": "sha256:another", "encoder": "another"}
    )
    want(farm, foreign)
    farm.wait_for(lambda: "sha256:another" in get(temporal, "/readyz")[1])
    status, body = get(temporal, "/readyz")
    assert (status, body.splitlines()[0]) == (200, "ready")
    assert OLD.config.encoder_id in body
    assert samples(temporal)[("streamer_model_pending",)] == 1
    assert samples(temporal)[("streamer_model_loads_total", "failed")] == 1
    assert OLD.config.encoder_id in temporal.log_path.read_text()
    num_events = len(farm.events())
    farm.wait_for(lambda: len(farm.events()) > num_events)
    (other.path / "model.onnx").write_bytes(b"damaged")
    want(farm, other)
    farm.wait_for(lambda: "model.onnx: expected sha256" in get(temporal, "/readyz")[1])
    assert_changes(farm, OLD)
    better = copy_bundle(tmp_path / "better", decoder={"smoothing_seconds": 0.3})
    want(farm, better)
    farm.wait_for(lambda: all_seen_by(farm, better, num=1))
    assert get(temporal, "/readyz") == (200, "ready\n")
    assert samples(temporal)[("streamer_model_pending",)] == 0
    assert_changes(farm, OLD, better)


def test_a_run_has_a_bundle_of_its_own(valkey, other):
    """What was wanted of workers that are gone does not override its `--bundle`."""
    with contextlib.closing(connect(valkey.url)) as client:
        registry = ModelRegistry(client, keys=Keys())
        registry.want(WantedModel(model_id=other.model_id, bundle=str(other.path)))
        program = [sys.executable, "-m", "streamer.cli.main", "run", "--json", "--for", "4"]
        result = subprocess.run(
            [*program, "--redis", valkey.url, "--no-gateway", "synthetic:workcell"],
            capture_output=True,
            text=True,
            timeout=60,
            env=child_environment(),
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert registry.wanted() is None
    models = {decode_event(line).data.model_id for line in result.stdout.splitlines()}
    assert models == {OLD.model_id}
