"""Each role as its own process against a real server: metrics, probes, crashes, accounting."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import pytest

from streamer.core.event import EndReason, EventType, Status
from streamer.runtime.supervisor import WorkerFailed
from streamer.sources.recording import record
from streamer.transport.keys import Keys
from streamer.transport.shm import DIRECTORY, PREFIX
from tests.workers import READY_SECONDS, Farm, get, replay, samples
from workers.shard import LINGER_SECONDS


@pytest.fixture
def farm(valkey, tmp_path):
    made = Farm(valkey.url, tmp_path)
    with contextlib.closing(made):
        yield made


def test_every_role_serves_metrics_and_probes(farm):
    farm.want("cam=synthetic:workcell?fps=10")
    ingest, encoder, temporal, gateway = farm.start("ingest", "encoder", "temporal", "gateway")
    farm.wait_for(lambda: any(e.type is EventType.PHASE_TRANSITION for e in farm.events()))
    for worker in farm.workers:
        assert get(worker, "/livez") == (200, "ready\n")
        assert get(worker, "/readyz") == (200, "ready\n")
        assert get(worker, "/nonsense")[0] == 404
        assert ("process_cpu_seconds_total",) in samples(worker)
    assert samples(ingest)[("streamer_frames_total", "analysed")] > 0
    assert samples(ingest)[("streamer_stream_up",)] == 1
    assert samples(encoder)[("streamer_frames_total", "encoded")] > 0
    assert samples(encoder)[("streamer_batch_size_count",)] > 0
    seen = samples(temporal)
    assert seen[("streamer_frame_age_seconds_count",)] > 0
    assert seen[("streamer_events_total", EventType.PHASE_TRANSITION)] > 0
    assert seen[("streamer_active_streams",)] == 1
    for stage in ("decode",):
        assert samples(ingest)[("streamer_stage_seconds_count", stage)] > 0
    for stage in ("frame_wait", "encode", "publish"):
        assert samples(encoder)[("streamer_stage_seconds_count", stage)] > 0
    for stage in ("feature_wait", "temporal", "commit"):
        assert seen[("streamer_stage_seconds_count", stage)] > 0
    assert gateway.ready.port


def test_every_frame_is_encoded_or_counted_as_dropped(farm):
    """A paused encoder loses frames of a live camera. None goes missing in the books."""
    farm.want("cam=synthetic:workcell?fps=10")
    ingest, encoder, _ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: len(farm.events()) > 2)
    encoder._process.send_signal(signal.SIGSTOP)
    begun = samples(ingest)[("streamer_frames_total", "analysed")]
    farm.wait_for(lambda: samples(ingest)[("streamer_frames_total", "analysed")] > begun + 30)
    encoder._process.send_signal(signal.SIGCONT)
    gaps = [EventType.STREAM_GAP]
    farm.wait_for(lambda: any(e.type in gaps for e in farm.events()))
    farm.registry.remove("cam")
    settled = []
    farm.wait_for(lambda: _still(ingest, settled))
    sent = samples(ingest)[("streamer_frames_total", "analysed")]

    def booked():
        """Encoded, dropped, waiting; without those that the encoder has just taken."""
        waiting = farm.client.xlen(Keys().frames("cam"))
        seen = samples(encoder)
        dropped = sum(
            seen[("streamer_frames_dropped_total", why)] for why in ("overwritten", "late")
        )
        return seen[("streamer_frames_total", "encoded")], dropped, waiting

    farm.wait_for(lambda: sum(booked()) == sent)
    _, dropped, _ = booked()
    assert dropped >= 20
    stated = sum(e.data.missing_frames for e in farm.events() if e.type is EventType.STREAM_GAP)
    assert stated <= dropped


def _still(worker, seen):
    """Whether no frame was sent for the last few looks."""
    seen.append(samples(worker)[("streamer_frames_total", "analysed")])
    return len(seen) > 5 and len(set(seen[-5:])) == 1


def test_a_killed_temporal_worker_loses_nothing(farm, tmp_path):

    clip = tmp_path / "clip.mp4"
    record(clip, seconds=15, seed=3, fps=10)
    farm.want(f"cam={clip}")
    first = farm.start("temporal")[0]
    farm.start("ingest", "encoder")
    farm.wait_for(lambda: len(farm.events()) > 4)
    first._process.kill()
    first._process.wait()
    farm.start("temporal", temporal__lease_seconds=1)
    ended = [EventType.STREAM_STATUS]
    farm.wait_for(
        lambda: any(e.type in ended and e.data.state == "ended" for e in farm.events()), seconds=60
    )
    events = farm.events()
    assert [e.number for e in events] == list(range(len(events)))
    assert not any(e.type is EventType.STREAM_GAP for e in events)
    from streamer import Pipeline

    undisturbed = list(Pipeline(f"cam={clip}"))
    assert [e.id for e in events] == [e.id for e in undisturbed]


def test_a_replay_equals_what_running_killed_and_stopped_workers_said(farm):
    """Bit for bit, with two cameras, four workers that come and go, and real clocks."""
    farm.want("one=synthetic:workcell?fps=10&seed=3", "two=synthetic:workcell?fps=10&seed=4")
    first = farm.start("temporal", redis__replay_seconds=200)[0]
    farm.start("ingest", "encoder")
    farm.wait_for(lambda: len(farm.events()) > 8)
    running = replay(farm)
    assert (running.returncode, running.stderr) == (0, "")
    assert running.stdout.count(": equal") == 2
    first._process.kill()
    first._process.wait()
    before = len(farm.events())
    farm.start("temporal", temporal__lease_seconds=1, redis__replay_seconds=200)
    farm.wait_for(lambda: len(farm.events()) > before + 8)
    again = replay(farm, "--stream", "one")
    assert (again.returncode, again.stderr) == (0, "")
    for worker in reversed(farm.workers):
        worker.terminate()
    for worker in farm.workers:
        worker.finish(deadline=time.monotonic() + 6)
    stopped = replay(farm, "--json")
    assert (stopped.returncode, stopped.stderr) == (0, "")
    compared = [json.loads(line) for line in stopped.stdout.splitlines()]
    assert [(c["stream"], c["verdict"]) for c in compared] == [("one", "equal"), ("two", "equal")]
    assert sum(c["num_events"] for c in compared) == len(farm.events())
    assert all(c["num_states"] >= 2 for c in compared)
    assert [c["first"] for c in compared] == [0, 0]


def test_a_second_temporal_worker_waits_for_the_lease(farm):
    farm.want("cam=synthetic:workcell?fps=10")
    first, second = farm.start("temporal", "temporal", temporal__lease_seconds=2)
    farm.start("ingest", "encoder")
    farm.wait_for(lambda: len(farm.events()) > 2)
    owners = [w for w in (first, second) if samples(w)[("streamer_active_streams",)] == 1]
    assert len(owners) == 1
    owners[0].terminate()
    owners[0].finish(deadline=time.monotonic() + 6)
    before = len(farm.events())
    farm.wait_for(lambda: len(farm.events()) > before)
    numbers = [e.number for e in farm.events()]
    assert numbers == list(range(len(numbers)))


def test_sources_come_and_go_while_it_runs(farm):
    farm.want("one=synthetic:workcell?fps=10")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: any(e.stream_id == "one" for e in farm.events()))
    farm.want("two=synthetic:workcell?fps=10&seed=4")
    farm.wait_for(lambda: any(e.stream_id == "two" for e in farm.events()))
    farm.registry.remove("one")
    farm.wait_for(lambda: _states(farm, "one")[-1:] == ["ended"])
    assert _states(farm, "one") == ["connecting", "live", "ended"]
    assert "ended" not in _states(farm, "two")


def test_a_source_removed_while_nobody_watches_it_still_gets_its_end(farm):
    """Its worker is killed, and before another takes over the source is gone."""
    farm.want("cam=synthetic:workcell?fps=10")
    first, *_ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: any(e.data.status is Status.CONFIRMED for e in _transitions(farm)))
    first._process.kill()
    farm.registry.remove("cam")
    assert farm.registry.entries() == {}
    farm.start("ingest")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["ended"])
    farm.wait_for(lambda: farm.registry.read() == ({}, {}))
    assert _states(farm, "cam") == ["connecting", "live", "ended"]
    assert _transitions(farm)[-1].data.label is None  # the phase was left


def test_a_source_removed_and_wanted_again_at_once_goes_on(farm):
    farm.want("cam=synthetic:workcell?fps=10")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: "live" in _states(farm, "cam"))
    farm.registry.remove("cam")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["ended"])
    farm.want("cam=synthetic:workcell?fps=10")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["live"])
    assert _states(farm, "cam") == ["connecting", "live", "ended", "connecting", "live"]


def test_a_paused_source_says_so_and_begins_anew_when_resumed(farm):
    farm.want("cam=synthetic:workcell?fps=10", "other=synthetic:workcell?fps=10&seed=4")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: any(e.data.status is Status.CONFIRMED for e in _transitions(farm, "cam")))
    farm.registry.update("cam", paused=True)
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["paused"])
    left = _transitions(farm, "cam")[-1].data
    assert (left.label, left.previous.segment.end_reason) == (None, EndReason.PAUSED)
    farm.wait_for(lambda: farm.registry.get("cam").pause_said)
    sent = farm.client.hget(Keys().source("cam"), "frame_us")
    before = len(_transitions(farm, "other"))
    farm.wait_for(lambda: len(_transitions(farm, "other")) > before)
    assert farm.client.hget(Keys().source("cam"), "frame_us") == sent
    assert _states(farm, "other") == ["connecting", "live"]
    # One that comes later has nothing to say of it.
    farm.start("ingest")
    farm.registry.update("cam", paused=False)
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["live"])
    assert _states(farm, "cam") == ["connecting", "live", "paused", "connecting", "live"]
    epochs = [e.data.frame.epoch for e in farm.events() if e.stream_id == "cam"]
    assert (epochs[0], epochs[-1]) == (1, 2)


def test_a_source_paused_while_nobody_reads_it_is_said_to_be_paused(farm):
    """And one that is removed while it is paused still gets its end."""
    farm.want("cam=synthetic:workcell?fps=10")
    first, *_ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: "live" in _states(farm, "cam"))
    first._process.kill()
    farm.registry.update("cam", paused=True)
    farm.start("ingest")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["paused"])
    farm.registry.remove("cam")
    farm.wait_for(lambda: farm.registry.read() == ({}, {}))
    assert _states(farm, "cam") == ["connecting", "live", "paused", "ended"]


def test_a_camera_that_failed_for_good_is_tried_again_when_resumed(farm, tmp_path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"no video")
    farm.want(f"cam={clip}")
    farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["failed"])
    farm.registry.update("cam", paused=True)
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["paused"])
    clip.unlink()
    record(clip, seconds=2, seed=3, fps=10)
    farm.registry.update("cam", paused=False)
    farm.wait_for(lambda: _states(farm, "cam")[-2:] == ["live", "ended"])
    farm.wait_for(lambda: list(farm.registry.finished()) == ["cam"])
    # A file that was read to its end says nothing more when it is paused, and is read again after.
    farm.registry.update("cam", paused=True)
    farm.registry.update("cam", paused=False)
    farm.wait_for(lambda: _states(farm, "cam")[-3:] == ["connecting", "live", "ended"])
    assert _states(farm, "cam").count("paused") == 1


def test_an_encoder_that_was_blocked_meanwhile_still_hears_of_an_end(farm):
    farm.want("cam=synthetic:workcell?fps=10")
    _, encoder, _ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: "live" in _states(farm, "cam"))
    encoder._process.send_signal(signal.SIGSTOP)
    farm.registry.remove("cam")
    time.sleep(LINGER_SECONDS + 1)  # the time it would look for the stream after its removal
    encoder._process.send_signal(signal.SIGCONT)
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["ended"])
    assert _states(farm, "cam") == ["connecting", "live", "ended"]


def test_a_source_that_nobody_can_read_costs_nothing_and_can_be_removed(farm):
    """It is told once, and not looked at again at every turn."""
    farm.want("cam=synthetic:workcell?fps=10")
    farm.registry.put("odd", b'{"no": "source"}')
    ingest, *_ = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: "live" in _states(farm, "cam"))
    looks = farm.client.info("commandstats")["cmdstat_hgetall"]["calls"]
    begun = samples(ingest)[("streamer_frames_total", "analysed")]
    farm.wait_for(lambda: samples(ingest)[("streamer_frames_total", "analysed")] >= begun + 30)
    # Three seconds; each of three workers looks once or twice a second.
    assert farm.client.info("commandstats")["cmdstat_hgetall"]["calls"] - looks < 60
    farm.registry.remove("odd")
    farm.wait_for(lambda: set(farm.registry.read()[0]) == {"cam"})
    assert farm.registry.read()[1] == {}


def test_a_file_that_was_read_is_not_read_again_by_a_successor(farm, tmp_path):
    """Nobody has folded it in yet when its worker stops."""
    clip = tmp_path / "clip.mp4"
    record(clip, seconds=3, seed=3, fps=10)
    farm.want(f"cam={clip}")
    first, _ = farm.start("ingest", "encoder")
    source = Keys().source("cam")
    farm.wait_for(lambda: _log_is_whole(farm, source))
    first.terminate()
    first.finish(deadline=time.monotonic() + 6)
    farm.start("ingest", "temporal")
    farm.wait_for(lambda: _states(farm, "cam")[-1:] == ["ended"])
    assert farm.client.hget(source, "epoch") == b"1"
    assert list(farm.registry.finished()) == ["cam"]


def _log_is_whole(farm, source):
    sent, logged = farm.client.hmget(source, "frame_us", "last_us")
    last = farm.client.xrevrange(Keys().features("cam"), count=1)
    return sent is not None and sent == logged and b"end_of_file" in last[0][1][b"e"]


def _transitions(farm, stream_id="cam"):
    own = [e for e in farm.events() if e.stream_id == stream_id]
    return [e for e in own if e.type is EventType.PHASE_TRANSITION]


def test_frames_can_travel_inside_redis(farm):
    farm.want("cam=synthetic:workcell?fps=10")
    ingest, *_ = farm.start("ingest", "encoder", "temporal", ingest__frame_path="redis")
    farm.wait_for(lambda: any(e.type is EventType.PHASE_TRANSITION for e in farm.events()))
    assert not list(DIRECTORY.glob(f"{PREFIX}{ingest.pid}-*"))


def _states(farm, stream_id):
    own = [e for e in farm.events() if e.stream_id == stream_id]
    return [e.data.state for e in own if e.type is EventType.STREAM_STATUS]


@pytest.mark.parametrize(
    ("role", "settings", "expected"),
    [
        ("encoder", {"encoder.name": "torchvision:nosuch"}, "nosuch"),
        ("encoder", {"encoder.shard": "3"}, "encoder.shards"),
        ("ingest", {"redis.url": "redis://127.0.0.1:1"}, "Connection refused"),
        ("encoder", {"redis.url": "redis://127.0.0.1:1"}, "Connection refused"),
        ("temporal", {"redis.url": "redis://127.0.0.1:1"}, "Connection refused"),
        ("gateway", {"redis.url": "redis://127.0.0.1:1"}, "127.0.0.1:1"),
        ("temporal", {"redis.url": "redis://:hunter2@127.0.0.1?nonsense=1"}, "redis.url"),
        ("temporal", {"bundle": "/no/bundle"}, "/no/bundle"),
        ("ingest", {"ingest.analysis_fps": "-1"}, "analysis_fps"),
    ],
)
def test_a_worker_that_cannot_start_says_why_in_one_line(farm, role, settings, expected):
    worker = farm._worker(role, {k.replace(".", "__"): v for k, v in settings.items()})
    worker.start()
    with pytest.raises(WorkerFailed, match=expected):
        worker.wait_ready(deadline=time.monotonic() + READY_SECONDS)
    said = worker.log_path.read_text()
    assert "Traceback" not in said
    assert "hunter2" not in said


def test_a_taken_metrics_port_is_one_clear_line(farm):
    first = farm.start("temporal")[0]
    worker = farm._worker("temporal", {"metrics__port": first.ready.metrics_port})
    worker.start()
    with pytest.raises(WorkerFailed, match=str(first.ready.metrics_port)) as failure:
        worker.wait_ready(deadline=time.monotonic() + READY_SECONDS)
    assert failure.value.exit_code == 2
