"""`streamer run rtsp://…` against a real RTSP server, compared with what the scene really did."""

from __future__ import annotations

from statistics import median

import pytest

from streamer.core.event import PhaseData, StatusData
from streamer.core.feature import StreamStatus
from tests.truth import onset_errors

pytestmark = pytest.mark.alone

WATCHED_SECONDS = 24


def test_events_of_cameras_match_the_ground_truth(start_rtsp_server, streamer, workcell_clip):
    clip, truth = workcell_clip
    # A server for each, for its pictures begin when the first one looks.
    sources = [
        f"{transport}={start_rtsp_server({'cell': clip}).url('cell')}#{transport}"
        for transport in ("tcp", "udp")
    ]
    done = streamer("run", *sources, "--json", "--for", str(WATCHED_SECONDS), "--no-gateway")
    assert done.code == 0, done.stderr
    for transport in ("tcp", "udp"):
        check_against([e for e in done.events if e.stream_id == transport], truth)


def check_against(events, truth):
    # The camera begins with the scene's first frame when one connects: wall-clock times of events
    # are compared with the moment the first frame was received.
    live = next(e for e in events if isinstance(e.data, StatusData) and e.data.state == "live")
    errors, missed = onset_errors(events, truth)
    assert len(errors) >= 6, f"{len(errors)} onsets found, {missed} missed"
    assert median(errors) <= 0.5, f"onset errors {sorted(errors)}"
    assert missed <= len(errors) / 3
    began_ns = int(live.data.timing.captured_ns)
    late = [
        (int(e.data.segment.start_ns) - began_ns) * 1e-9 - e.data.segment.start_pts_seconds
        for e in events
        if isinstance(e.data, PhaseData) and e.data.label
    ]
    assert abs(median(late)) < 0.25, "wall-clock and presentation times disagree"


def test_a_wrong_password_is_final_and_says_so(start_rtsp_server, streamer, workcell_clip):
    server = start_rtsp_server({"cell": workcell_clip[0]}, user="admin:right")
    url = server.url("cell", user="admin:wrong")
    done = streamer("run", url, "--json", "--no-gateway")
    assert done.code == 1
    assert done.events[-1].data.state == StreamStatus.FAILED
    assert done.events[-1].data.reason == "unauthorized"
    assert "wrong" not in done.stdout + done.stderr.replace("wrong user", "")


def test_the_right_password_lets_in(start_rtsp_server, streamer, workcell_clip):
    server = start_rtsp_server({"cell": workcell_clip[0]}, user="admin:right", auth="digest")
    url = server.url("cell", user="admin:right")
    done = streamer("run", url, "--json", "--for", "3", "--no-gateway")
    states = [e.data.state for e in done.events if isinstance(e.data, StatusData)]
    assert states[:2] == ["connecting", "live"]
    assert "right" not in done.stdout + done.stderr


def test_a_camera_that_goes_away_is_tried_again(start_rtsp_server, start, workcell_clip):
    import json

    server = start_rtsp_server({"cell": workcell_clip[0]})
    process = start("run", server.url("cell"), "--json", "--no-gateway")
    states = []
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["type"] == "streamer.stream.status":
            states.append(event["data"]["state"])
            if states[-1] == "live":
                server.kill()
            if states[-1] == "reconnecting":
                break
    assert states == ["connecting", "live", "reconnecting"]
    process.terminate()
    _, stderr = process.communicate(timeout=20)
    assert process.returncode == 0, stderr
