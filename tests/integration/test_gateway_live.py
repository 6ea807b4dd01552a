"""Live views, timelines, models and corrections, over HTTP."""

from __future__ import annotations

import contextlib
import threading

import httpx
import pytest

from streamer.client.glance import open_glance
from streamer.client.live import LiveViews
from streamer.client.timeline import Timeline
from streamer.state.redis import RedisCheckpointStore
from streamer.training.annotations.table import read_table
from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from tests.histories import ACTIONS, PHASES
from tests.wall import TOKEN, made_up_wall
from workers.gateway.corrections import Correction, append_correction, video_of

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def wall(tmp_path_factory):
    with made_up_wall(tmp_path_factory.mktemp("wall"), num_cameras=2, minutes=1.0) as wall:
        for history in wall.histories.values():
            history.end()
            history.seq += 3
            history._enter("grasp", history.now_ns, None)
            history.seq += 20
        wall.publish()
        yield wall


@pytest.fixture(scope="module")
def http(wall):
    with httpx.Client(base_url=wall.url, headers=HEADERS) as client:
        yield client


def test_streams_say_what_they_are_doing(wall, http):
    answer = http.get("/v1/streams").json()
    assert answer["latency_budget_seconds"] == 0.25
    assert [stream["id"] for stream in answer["streams"]] == ["cam1", "cam2"]
    live = answer["streams"][0]["live"]
    history = wall.histories["cam1"]
    assert live["state"] == "live"
    assert (live["epoch"], live["seq"]) == (history.epoch, history.seq)
    assert live["phase"]["label"] == live["top"][0]["label"] == "grasp"
    assert live["phase"]["since_ns"] == str(history.phases[-1].start_ns)
    assert len(live["top"]) == 3
    assert live["missing_frames"] == sum(
        event.data.missing_frames for event in history.events if "gap" in event.type
    )
    assert len(live["latencies_seconds"]) == 60


def test_streams_that_show_nothing_are_not_looked_for_at_every_request(valkey, monkeypatch):
    looked_for = []

    class Store(RedisCheckpointStore):
        def load(self, stream_ids):
            looked_for.append(set(stream_ids))
            return super().load(stream_ids)

    monkeypatch.setattr("streamer.client.live.FRESH_SECONDS", 3600.0)
    monkeypatch.setattr("streamer.client.live.RedisCheckpointStore", Store)
    with contextlib.closing(connect(valkey.url)) as client:
        views = LiveViews(client, keys=Keys())
        for _ in range(3):
            assert views.look(["dark"], {})["dark"].state == "starting"
        assert set(views.look(["dark", "new"], {})) == {"dark", "new"}
    assert looked_for == [{"dark"}, {"dark", "new"}]


def test_frames_per_second_are_told_between_two_looks(wall, http):
    http.get("/v1/streams")
    wall.histories["cam1"].seq += 5
    wall.publish()
    # Answers are kept for a quarter of a second: asking is how to wait for the next one.
    for _ in range(1_000):
        live = http.get("/v1/streams").json()["streams"][0]["live"]
        if live["seq"] == wall.histories["cam1"].seq:
            break
    assert live["fps"] > 0


def test_a_glance_is_the_same_over_redis_and_over_the_gateway(wall):
    over_redis = open_glance(wall.redis_url)
    over_http = open_glance(wall.url, token=TOKEN)
    try:
        own, theirs = over_redis.look(), over_http.look()
    finally:
        over_redis.close()
        over_http.close()
    assert own.keys() == theirs.keys() == {"cam1", "cam2"}
    changing = {"age_seconds", "fps"}
    for stream in own:
        assert own[stream].model_dump(exclude=changing) == theirs[stream].model_dump(
            exclude=changing
        )


def test_a_timeline_is_the_fold_of_the_events(wall, http):
    found = http.get("/v1/streams/cam1/timeline", params={"since": "1h"}).json()
    timeline = Timeline()
    for event in wall.histories["cam1"].events:
        timeline.take(event)
    view = timeline.view()
    for kind in ("phases", "actions", "anomalies"):
        assert [(b["label"], b["start_ns"], b["end_ns"]) for b in found[kind]] == [
            (b.label, str(b.start_ns), None if b.end_ns is None else str(b.end_ns))
            for b in getattr(view, kind)
        ]
    assert len(found["gaps"]) == len(view.gaps)
    assert found["statuses"][-1]["state"] == "live"
    assert found["next_sequence"] == len(wall.histories["cam1"].events)
    shorter = http.get("/v1/streams/cam1/timeline", params={"since": "5s"}).json()
    assert 0 < len(shorter["phases"]) < len(found["phases"])


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        ("/v1/streams/nobody/timeline", 404, "nobody"),
        ("/v1/streams/cam1/timeline?since=2h", 400, "at most 3600s"),
        ("/v1/streams/cam1/timeline?since=soon", 400, "soon"),
        ("/v1/streams/cam1/timeline?since=1767225600000-0", 400, "duration"),
        ("/v1/streams/cam1/timeline?until=1h", 422, "until"),
    ],
)
def test_what_is_asked_wrongly_is_a_problem(http, path, status, detail):
    answer = http.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert detail in answer.json()["detail"]


def test_models_are_listed(http):
    answer = http.get("/v1/models").json()
    assert answer["wanted"] is None
    (model,) = answer["models"]
    assert model["phases"] == list(PHASES)
    assert model["actions"] == list(ACTIONS)


def correction(wall, **changes):
    phase = wall.histories["cam1"].phases[-1]
    return {
        "label": "reach",
        "kind": "phase",
        "start_ns": str(phase.start_ns),
        "end_ns": str(phase.start_ns + 1_500_000_000),
        **changes,
    }


def test_a_correction_is_a_row_that_training_reads(wall, http):
    answer = http.post("/v1/streams/cam1/corrections", json=correction(wall, label=" reach  out "))
    assert answer.status_code == 201
    row = answer.json()
    assert row["label"] == "reach out"
    assert row["video"].startswith("cam1-")
    written = read_table(wall.corrections).rows[-1]
    assert written.annotation.end_seconds - written.annotation.start_seconds == pytest.approx(1.5)
    assert (written.video.name, written.source) == (row["video"], "cam1")


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"label": ""}, 422),
        ({"label": "=HYPERLINK(1)"}, 422),
        ({"label": "a,b"}, 422),
        ({"label": "a\nb"}, 201),  # white space is made single, as everywhere
        ({"label": "x" * 101}, 422),
        ({"kind": "gap"}, 422),
        ({"start_ns": "-1"}, 422),
        ({"end_ns": "1"}, 422),
        ({"start_ns": "1", "end_ns": "2"}, 409),
        ({"start_ns": "9" * 18, "end_ns": "9" * 19}, 422),
        ({"start_ns": 5}, 422),
        ({"more": 1}, 422),
    ],
)
def test_a_correction_that_can_not_be_is_refused(wall, http, changes, status):
    before = wall.corrections.read_text() if wall.corrections.exists() else ""
    answer = http.post("/v1/streams/cam1/corrections", json=correction(wall, **changes))
    assert answer.status_code == status
    if status != 201:
        assert answer.headers["content-type"] == "application/problem+json"
        assert (wall.corrections.read_text() if wall.corrections.exists() else "") == before


def test_corrections_of_unknown_streams_and_without_the_scope_are_refused(wall, http):
    assert http.post("/v1/streams/no/corrections", json=correction(wall)).status_code == 404
    path = f"{wall.url}/v1/streams/cam1/corrections"
    assert httpx.post(path, json=correction(wall)).status_code == 401


def test_rows_of_several_writers_stay_whole(tmp_path):
    path = tmp_path / "corrections.csv"

    def write(stream):
        for number in range(50):
            row = Correction(
                video="clip.mp4",
                start_seconds=number,
                end_seconds=number + 1,
                label="place",
                kind="phase",
                stream_id=stream,
            )
            append_correction(path, row)

    writers = [threading.Thread(target=write, args=(f"cam{n}",)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(read_table(path).rows) == 200


def test_a_file_of_something_else_is_not_written_to(wall, http):
    kept = wall.corrections.read_text() if wall.corrections.exists() else ""
    wall.corrections.write_text("name,age\n")
    answer = http.post("/v1/streams/cam1/corrections", json=correction(wall))
    assert answer.status_code == 400
    assert "name,age" in answer.json()["detail"]
    assert wall.corrections.read_text() == "name,age\n"
    wall.corrections.write_text(kept)


@pytest.mark.parametrize(
    ("url", "options", "video"),
    [
        ("clips/a.mp4", {}, "clips/a.mp4"),
        ("clips/a.mp4", {"loop": "true"}, "cam-20260101T000000Z.mkv"),
        ("rtsp://host/live", {}, "cam-20260101T000000Z.mkv"),
        ("synthetic:workcell?seed=1", {}, "cam-20260101T000000Z.mkv"),
        ("/dev/video0", {}, "cam-20260101T000000Z.mkv"),
        ("0", {}, "cam-20260101T000000Z.mkv"),
    ],
)
def test_a_file_is_named_and_a_recording_by_its_beginning(url, options, video):
    assert video_of("cam", url, options, origin_ns=1_767_225_600_000_000_000) == video
