"""`streamer run` on files and synthetic scenes, and what happens when one types wrong things."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from streamer import Pipeline
from streamer.core.event import EventType, GapData, StatusData, decode_event
from streamer.core.ledger import Ledger
from streamer.sources.recording import record
from tests.e2e.conftest import left_behind

pytestmark = pytest.mark.alone

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


def said(events):
    """What subscribers see, without what depends on when it was computed."""
    return [
        (e.id, e.type, e.sequence, getattr(e.data, "label", None), e.data.frame.pts_seconds,
         getattr(e.data, "confidence", None), getattr(e.data, "status", None))
        for e in events
    ]  # fmt: skip


@pytest.fixture(scope="module")
def file_run(workcell_clip, tmp_path_factory):
    import subprocess
    import sys

    path, _ = workcell_clip
    done = subprocess.run(
        [sys.executable, "-m", "streamer.cli.main", "run", str(path), "--json", "--for", "60"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_file_gives_valid_cloudevents_with_every_stage_of_the_ledger(file_run):
    import json

    stages = set(Ledger.__struct_fields__) - {"lookahead_wait_seconds"}  # the bundle has none
    assert len(file_run) > 10
    for number, line in enumerate(file_run):
        event = json.loads(line)
        assert event["specversion"] == "1.0"
        assert UUID.fullmatch(event["id"])
        assert event["source"] == "/streams/cell"
        assert event["type"] in set(EventType)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"])
        assert event["datacontenttype"] == "application/json"
        assert int(event["sequence"]) == number
        data = event["data"]
        assert set(data["latency"]) == stages
        assert data["pipeline_seconds"] == pytest.approx(sum(data["latency"].values()))
        for key in ("captured_ns", "received_ns", "emitted_ns"):
            assert isinstance(data["timing"][key], str)
        # At the end of a stream the last phase is left by the note, which passed no model.
        entered = event["type"] == EventType.PHASE_TRANSITION and data["label"] is not None
        if entered or event["type"] == EventType.ACTION_START:
            assert all(data["latency"][stage] > 0 for stage in stages)


def test_ids_are_unique(file_run):
    import json

    ids = [json.loads(line)["id"] for line in file_run]
    assert len(set(ids)) == len(ids)


@pytest.fixture(scope="module")
def in_process_run(workcell_clip):
    path, _ = workcell_clip
    with Pipeline(str(path)) as pipeline:
        return list(pipeline)


def test_the_in_process_pipeline_says_the_same(file_run, in_process_run):
    assert said(in_process_run) == said([decode_event(line) for line in file_run])


def test_the_in_process_pipeline_is_deterministic(in_process_run, workcell_clip):
    path, _ = workcell_clip
    assert said(list(Pipeline(str(path)))) == said(in_process_run)


def test_the_events_are_right(file_run, workcell_clip):
    """Phase onsets against the ground truth of the scene."""
    _, truth = workcell_clip
    from tests.truth import onset_errors

    errors, missed = onset_errors([decode_event(line) for line in file_run], truth)
    assert len(errors) >= 8
    assert sorted(errors)[len(errors) // 2] <= 0.5
    assert missed <= 0.25 * (len(errors) + missed)


def test_synthetic_cameras_run_live_and_stop_in_time(streamer):
    done = streamer(
        "run", "one=synthetic:workcell?seed=1&fps=10", "two=synthetic:workcell?seed=2&fps=10",
        "--json", "--for", "4", "--no-gateway",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert done.stderr == ""
    for stream_id in ("one", "two"):
        own = [e for e in done.events if e.stream_id == stream_id]
        assert [e.number for e in own] == list(range(len(own)))
        states = [e.data.state for e in own if isinstance(e.data, StatusData)]
        assert states[:2] == ["connecting", "live"]
        assert any(e.type is EventType.PHASE_TRANSITION for e in own)


def test_one_bad_source_stops_no_other(streamer, workcell_clip):
    path, _ = workcell_clip
    done = streamer("run", "bad=/no/such/file.mp4", f"good={path}", "--json", "--no-gateway")
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert "/no/such/file.mp4" in done.stderr
    good = [e for e in done.events if e.stream_id == "good"]
    assert good[-1].data.state == "ended"
    assert not any(isinstance(e.data, GapData) for e in good)


def test_a_silent_camera_delays_no_other(streamer):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x"
        done = streamer(
            "run", f"silent={url}", "live=synthetic:workcell?fps=10", "--json", "--for", "4",
            "--no-gateway",
        )  # fmt: skip
    assert done.code == 0, done.stderr
    live = [e for e in done.events if e.stream_id == "live" and isinstance(e.data, StatusData)]
    assert [e.data.state for e in live][:2] == ["connecting", "live"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_drains_within_five_seconds(start, number):
    process = start("run", "synthetic:workcell?fps=10", "--json")
    assert process.stdout is not None
    for line in process.stdout:
        if '"phase.transition' in line or "streamer.phase.transition" in line:
            break
    begun = time.monotonic()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert process.returncode == 0
    assert stderr == ""


def test_a_killed_command_leaves_nothing_behind(start, room):
    process = start("run", "synthetic:workcell?fps=10", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any("process" in name for name in left_behind(room)) and time.monotonic() < deadline:
        process.poll()
    assert not any("process" in name for name in left_behind(room))
    # Shared memory and the socket's folder are swept by the next run.
    done = start("run", "synthetic:workcell?fps=10&seconds=1", "--json")
    done.communicate(timeout=60)
    assert left_behind(room) == set()


WRONG = [
    (["run", "foo://camera"], 2, "unknown scheme foo"),
    (["run", "synthetic:nothing"], 2, "synthetic:workcell"),
    (["run", "/no/such/file.mp4"], 1, "/no/such/file.mp4"),
    (["run", "nothing*.mp4"], 2, "nothing*.mp4"),
    (["run", "clip.mp4#sideways"], 2, "sideways"),
    (["run", "synthetic:workcell", "--fps", "0"], 2, "analysis_fps"),
    (["run", "synthetic:workcell", "--fps", "-3"], 2, "analysis_fps"),
    (["run", "synthetic:workcell?fps=0"], 2, "fps"),
    (["run", "synthetic:workcell", "--for", "0"], 2, "--for"),
    (["run", "synthetic:workcell", "--bundle", "/no/bundle"], 1, "/no/bundle"),
    (["run", "synthetic:workcell", "--encoder", "nonsense"], 2, "efficientnet_lite0"),
    (["run", "synthetic:workcell", "--redis", "redis://127.0.0.1:1"], 1, "127.0.0.1:1"),
    (["run", "synthetic:workcell", "--config", "/no/file.toml"], 2, "/no/file.toml"),
    (["run"], 2, "sources"),
    (["sideways"], 2, "sideways"),
]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"), WRONG, ids=[" ".join(w[0]) for w in WRONG]
)
def test_wrong_things_get_one_clear_line(streamer, arguments, code, expected):
    done = streamer(*arguments)
    assert done.code == code, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_key_is_named_with_its_neighbour(streamer, tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("[ingest]\nanalysis_fsp = 5\n")
    done = streamer("run", "synthetic:workcell", "--config", str(file))
    assert done.code == 2
    assert "unknown key 'ingest.analysis_fsp'" in done.stderr
    assert "ingest.analysis_fps" in done.stderr


def test_a_file_that_is_no_video_is_one_clear_line(streamer, tmp_path):
    file = tmp_path / "notes.mp4"
    file.write_text("this is not a video\n" * 1000)
    done = streamer("run", str(file), "--json")
    assert done.code == 1
    assert done.stderr.count("\n") == 1
    assert str(file) in done.stderr


def test_a_taken_port_is_one_clear_line(streamer):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = streamer("run", "synthetic:workcell", "--port", str(port))
    assert done.code in (1, 2)
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_credentials_appear_nowhere(streamer):
    done = streamer(
        "run", "rtsp://admin:hunter2secret@127.0.0.1:1/x", "--json", "--for", "2", "--no-gateway"
    )
    assert "hunter2secret" not in done.stdout + done.stderr
    reasons = [e.data.reason for e in done.events if isinstance(e.data, StatusData)]
    assert reasons == ["", "refused", "stopped"]


def test_a_second_run_on_the_same_redis_goes_on_and_repeats_nothing(streamer, valkey, tmp_path):
    clip = tmp_path / "clip.mp4"
    record(clip, seconds=6, seed=3, fps=10)
    first = streamer("run", str(clip), "--json", "--redis", valkey.url, "--no-gateway").events
    second = streamer("run", str(clip), "--json", "--redis", valkey.url, "--no-gateway").events
    assert {e.data.frame.epoch for e in first} == {1}
    assert second[0].number == first[-1].number + 1
    assert [e.number for e in second] == list(
        range(second[0].number, second[0].number + len(second))
    )
    assert not {e.id for e in first} & {e.id for e in second}


def test_a_second_run_at_the_same_time_is_refused(start, streamer, valkey):
    first = start("run", "synthetic:workcell?fps=10", "--json", "--redis", valkey.url)
    assert first.stdout is not None
    first.stdout.readline()
    second = streamer("run", "synthetic:workcell?fps=10", "--redis", valkey.url)
    assert second.code == 2
    assert "another `streamer run`" in second.stderr
    assert "streamer" in first.stdout.readline()  # undisturbed
    first.send_signal(signal.SIGINT)
    _, stderr = first.communicate(timeout=20)
    assert (first.returncode, stderr) == (0, "")


def test_stopping_ends_what_is_open(start):
    process = start("run", "synthetic:workcell?fps=10", "--json", "--no-gateway")
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if "streamer.phase.transition" in line and '"status":"confirmed"' in line:
            break
    process.send_signal(signal.SIGINT)
    rest, stderr = process.communicate(timeout=20)
    assert stderr == ""
    events = [decode_event(line) for line in lines + rest.splitlines()]
    assert events[-1].data.state == "ended"
    assert events[-1].data.reason == "stopped"
    left = [e for e in events if e.type is EventType.PHASE_TRANSITION][-1]
    assert left.data.label is None
    assert left.data.previous.segment.end_reason == "stream_ended"


def test_an_interruption_while_it_starts_is_quiet_and_quick(start):
    process = start("run", "synthetic:workcell?fps=10", "--json")
    time.sleep(1.0)  # somewhere between the first import and the first event
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert time.monotonic() - begun < 5
    assert stderr == ""


def test_a_reader_that_goes_away_ends_it_quietly(start):
    process = start("run", "synthetic:workcell?fps=10", "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""


def test_a_killed_encoder_is_started_again_and_dies_with_the_command(start, room):
    process = start("run", "synthetic:workcell?fps=10", "--json")
    assert process.stdout is not None
    process.stdout.readline()
    before = targets(room)
    assert {role for role, _ in before} == {"ingest", "encoder", "temporal", "gateway"}
    assert all(serves_metrics(address) for _, address in before)
    pids = [int(name.split()[1]) for name in left_behind(room) if "workers.encoder" in name]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert process.stderr is not None
    told = sorted(process.stderr.readline() for _ in pids)
    assert all("crashed and was started again" in line for line in told)
    # It works again: an event whose gap says what was missed, or simply the next one.
    assert process.stdout.readline()
    deadline = time.monotonic() + 20
    while len(targets(room) & before) > len(before) - len(pids):
        assert time.monotonic() < deadline, "the new ports are not in the file of targets"
        process.stdout.readline()
    assert sorted(role for role, _ in targets(room)) == sorted(role for role, _ in before)
    assert all(serves_metrics(address) for _, address in targets(room))
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while any("process" in name for name in left_behind(room)) and time.monotonic() < deadline:
        process.poll()
    assert not any("process" in name for name in left_behind(room))
    swept = start("run", "synthetic:workcell?fps=10&seconds=1", "--json")
    swept.communicate(timeout=60)


def targets(room):
    """Role and address of each worker, as the only run tells Prometheus."""
    (path,) = room.glob("streamer/targets-*.json")
    groups = json.loads(path.read_text())
    return {(group["labels"]["role"], *group["targets"]) for group in groups}


def serves_metrics(address):
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        return b"process_start_time_seconds" in answer.read()


def test_code_lying_beside_the_videos_is_not_run(tmp_path, monkeypatch, streamer):
    (tmp_path / "redis.py").write_text("raise RuntimeError('shadowed')\n")
    monkeypatch.chdir(tmp_path)
    done = streamer("run", "synthetic:workcell?fps=10&seconds=1", "--json", "--no-gateway")
    assert done.code == 0, done.stderr


def test_settings_for_one_worker_do_not_break_a_run_of_all(streamer):
    done = streamer(
        "run", "synthetic:workcell?fps=10&seconds=1", "--json", "--no-gateway",
        STREAMER_METRICS__PORT="9188",
    )  # fmt: skip
    assert done.code == 0, done.stderr


def test_a_run_shows_its_token_once_and_keeps_it_to_its_user(start, room):
    process = start("run", "synthetic:workcell?fps=10")
    line = next(line for line in process.stdout if line.startswith("open: "))
    url, token = re.fullmatch(r"open: (http://127\.0\.0\.1:\d+)/\?token=(\S+)\n", line).groups()
    with urllib.request.urlopen(
        urllib.request.Request(f"{url}/v1/session", headers={"Authorization": f"Bearer {token}"})
    ) as answer:
        assert "admin" in json.load(answer)["scopes"]
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/v1/session")
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            assert token.encode() not in path.read_bytes()
    (kept,) = room.glob("streamer/run-*/gateway.json")
    assert kept.stat().st_mode & 0o777 == 0o600
    holding = [file for file in kept.parent.iterdir() if file.is_file() and file != kept]
    assert holding
    assert not [file for file in holding if token in file.read_text(errors="replace")]
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert token not in stdout + stderr


def test_streams_come_and_go_while_it_runs_and_end_with_it(start, streamer, valkey):
    process = start("run", "one=synthetic:workcell?fps=10", "--json", "--redis", valkey.url)
    assert process.stdout is not None
    on = ("--redis", valkey.url)
    until_state(process, "one", "live")
    assert streamer("streams", "add", "two=synthetic:workcell?fps=10&seed=4", *on).code == 0
    until_state(process, "two", "live")
    # It does not end because nothing is left to watch: more may be added.
    assert streamer("streams", "remove", "one", "two", *on).code == 0
    until_state(process, "two", "ended")
    assert streamer("streams", "add", "three=synthetic:workcell?fps=10", *on).code == 0
    until_state(process, "three", "live")
    assert streamer("streams", "pause", "three", *on).stdout == "three is paused\n"
    until_state(process, "three", "paused")
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (0, "")
    listed = streamer("streams", "list", "--json", *on)
    assert (listed.code, listed.stdout) == (0, "")


def until_state(process, stream_id, state):
    for line in process.stdout:
        event = decode_event(line)
        if event.stream_id == stream_id and getattr(event.data, "state", "") == state:
            return
    raise AssertionError(f"{stream_id} was never {state}")
