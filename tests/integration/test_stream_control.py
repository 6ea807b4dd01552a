"""Streams added, changed, paused and removed over HTTP, with real workers on a real Valkey."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import httpx
import pytest

from streamer.core.event import EventType
from streamer.sources.recording import record
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry
from tests.gateways import HEADERS, serving_events
from tests.workers import Farm

CAMERA = "synthetic:workcell?fps=10"
LENS = "rtsp://10.0.0.7/l"
KINDS = ("rtsp", "http", "file", "synthetic")


@pytest.fixture(scope="module")
def shared_valkey():
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="module")
def shared_url(shared_valkey):
    with serving_events(shared_valkey.url, allow_sources=KINDS) as url:
        yield url


@pytest.fixture
def registry(shared_valkey):
    client = connect(shared_valkey.url)
    client.delete(Keys().streams, Keys().finished, Keys().run)
    yield StreamRegistry(client, keys=Keys())
    client.close()


@pytest.fixture
def api(shared_url, registry):
    with httpx.Client(base_url=shared_url, timeout=30, headers=HEADERS) as client:
        yield client


@pytest.fixture
def farm(valkey, tmp_path):
    with contextlib.closing(Farm(valkey.url, tmp_path)) as made:
        yield made


def test_a_stream_s_life(api, registry):
    made = api.post("/v1/streams", json={"source": "door=rtsp://10.0.0.7/live#udp"})
    assert (made.status_code, made.headers["Location"]) == (201, "/v1/streams/door")
    info = {
        "id": "door",
        "url": "rtsp://10.0.0.7/live",
        "options": {"transport": "udp"},
        "paused": False,
        "slot": 0,
    }
    assert made.json() == info
    (listed,) = api.get("/v1/streams").json()["streams"]
    assert listed.pop("live")["state"] == "starting"
    assert listed == info
    assert api.get("/v1/streams/door").json().pop("live")["state"] == "starting"
    assert api.post("/v1/streams/door/pause").json()["paused"]
    assert registry.get("door").paused
    changed = api.patch(
        "/v1/streams/door",
        json={"source": "rtsp://10.0.0.8/live", "credentials": "env:STREAMER_CREDENTIALS_DOOR"},
    )
    assert changed.json() == {**info, "url": "rtsp://10.0.0.8/live", "options": {}, "paused": True}
    assert b"env:STREAMER_CREDENTIALS_DOOR" in bytes(registry.get("door").source)
    assert not api.post("/v1/streams/door/resume").json()["paused"]
    assert api.delete("/v1/streams/door").status_code == 204
    assert registry.read()[0]["door"].removed  # an ingest worker has to say its end
    assert api.get("/v1/streams").json()["streams"] == []


def test_names_are_derived_and_never_given_twice(api):
    """By several clients at once, too."""
    answers = []
    barrier = threading.Barrier(6)

    def add():
        barrier.wait()
        answers.append(api.post("/v1/streams", json={"source": "rtsp://10.0.0.7/live"}))

    threads = [threading.Thread(target=add) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {a.status_code for a in answers} == {201}
    assert sorted(a.json()["id"] for a in answers) == [f"cam{n}" for n in range(1, 7)]
    assert sorted(a.json()["slot"] for a in answers) == list(range(6))


def test_a_taken_name_is_refused_and_nothing_changes(api, registry):
    registry.put("door", b'{"stream_id":"door","url":"rtsp://10.0.0.7/live"}')
    for body in (
        {"id": "door", "source": "rtsp://10.0.0.9/live"},
        {"source": "door=rtsp://10.0.0.9/live"},
    ):
        answer = api.post("/v1/streams", json=body)
        assert (answer.status_code, answer.json()["status"]) == (409, 409)
        assert "door: expected a name that is free" in answer.json()["detail"]
    assert b"10.0.0.7" in bytes(registry.get("door").source)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "", {}, 422, "source: Field required"),
        ("POST", "", {"source": ""}, 422, "source"),
        ("POST", "", {"source": "rtsp://h/\x00"}, 422, "source"),
        ("POST", "", {"source": "rtsp://10.0.0.7/l", "sauce": 1}, 422, "sauce"),
        ("POST", "", {"source": "rtsp://10.0.0.7/l", "id": "a b"}, 422, "id"),
        ("POST", "", {"source": "rtsp://10.0.0.7/l", "id": ".."}, 400, "id: expected a name"),
        ("POST", "", {"source": "a=rtsp://h/l", "id": "b"}, 400, "found a beside b"),
        ("POST", "", {"source": "gopher://h/l"}, 400, "source: gopher://h/l: unknown scheme"),
        (
            "POST",
            "",
            {"source": "rtsp://u:hunter2@h/l"},
            400,
            "source: rtsp://h/l: expected",
        ),
        ("POST", "", {"source": "rtsp://h/l#warp"}, 400, "source: rtsp://h/l#warp: unknown option"),
        (
            "POST",
            "",
            {"source": "rtsp://10.0.0.7/l", "options": {"transport": "x"}},
            400,
            "options: exp",
        ),
        ("POST", "", {"source": "rtsp://10.0.0.7/l", "credentials": "u:p"}, 422, "credentials"),
        (
            "POST",
            "",
            {"source": LENS, "credentials": "env:HOME"},
            400,
            "another variable",
        ),
        (
            "POST",
            "",
            {"source": "rtsp://h/l#credentials=file:/etc/passwd"},
            400,
            "gateway.credentials_directory",
        ),
        ("POST", "", {"source": "synthetic:nosuch"}, 400, "source: synthetic:nosuch: no such"),
        ("PATCH", "/no", {"paused": True}, 404, "no: no such stream"),
        ("PATCH", "/no", {}, 422, "expected source or paused, found neither"),
        ("PATCH", "/no", {"paused": "yes"}, 422, "paused"),
        ("PATCH", "/no", {"paused": True, "slot": 3}, 422, "slot"),
        ("PATCH", "/no", {"paused": True, "options": {"loop": "true"}}, 422, "beside a source"),
        ("POST", "/no/pause", None, 404, "no: no such stream"),
        ("POST", "/no/resume", None, 404, "no: no such stream"),
        ("DELETE", "/no", None, 404, "no: no such stream"),
        ("GET", "/no", None, 404, "no: no such stream"),
        ("POST", "/probe", {"source": "/no/such/file.mp4"}, 400, "source: /no/such/file.mp4"),
        (
            "POST",
            "/probe",
            {"source": "rtsp://127.0.0.1:1/x"},
            400,
            "source: 127.0.0.1 is not in a net",
        ),
        ("POST", "/probe", {"source": "rtsp://10.0.0.7/l", "id": "a"}, 422, "id"),
    ],
)
def test_what_is_wrong_is_said_with_its_status(api, registry, method, path, body, status, detail):
    answer = api.request(method, f"/v1/streams{path}", json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (
        status,
        "application/problem+json",
    ), answer.text
    assert detail in answer.json()["detail"]
    assert "hunter2" not in answer.text
    assert registry.read()[0] == {}


@pytest.mark.parametrize(
    ("body", "media_type", "status", "detail"),
    [
        ('{"source": ', "application/json", 400, "body: expected JSON, found none ("),
        ('{"source": "rtsp://hunter2', "application/json", 400, "at character 11"),
        ("source=rtsp://10.0.0.7/l", "application/x-www-form-urlencoded", 415, "Content-Type"),
        ('{"source": "rtsp://10.0.0.7/l"}', "text/plain", 415, "Content-Type"),
        ("", "application/json", 422, "body: Field required"),
        ("[]", "application/json", 422, "body: Input should be"),
    ],
)
def test_bodies_that_are_no_object_of_json(api, registry, body, media_type, status, detail):
    answer = api.post("/v1/streams", content=body, headers={"Content-Type": media_type})
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert detail in problem["detail"]
    assert "hunter2" not in answer.text
    assert registry.read()[0] == {}


def test_a_probe_says_what_a_source_gives(api, tmp_path):
    clip = tmp_path / "clip.mp4"
    record(clip, seconds=2, seed=3, fps=10)
    found = api.post("/v1/streams/probe", json={"source": str(clip)})
    assert found.status_code == 200, found.text
    assert (found.json()["width"], found.json()["height"]) == (320, 240)
    assert (found.json()["codec"], found.json()["live"]) == ("h264", False)
    assert found.json()["fps"] == pytest.approx(10, abs=0.5)


def test_a_probe_that_takes_too_long_is_killed(api, monkeypatch):
    """Others are answered meanwhile: the event loop does not wait for it."""
    monkeypatch.setattr("workers.gateway.prober.PROBE_SECONDS", 0.2)
    answer = api.post("/v1/streams/probe", json={"source": CAMERA})
    assert (answer.status_code, "within 0.2 s" in answer.json()["detail"]) == (400, True)
    children = subprocess.run(
        ["ps", "-eo", "args"], capture_output=True, text=True, check=True
    ).stdout
    assert "workers.gateway.probe\n" not in children


def test_the_gateway_loads_no_video_library():
    """Neither when it starts nor when a camera is added."""
    program = (
        "import sys; import workers.gateway.__main__; "
        "from workers.gateway.source import NewStream, read_source; "
        "read_source(NewStream(source='rtsp://h/live'), stream_id=None); "
        "sys.exit('av' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_what_is_added_while_a_run_lives_is_the_run_s(api, registry, shared_valkey):
    api.post("/v1/streams", json={"id": "before", "source": "rtsp://10.0.0.7/l"})
    with contextlib.closing(connect(shared_valkey.url)) as client:
        client.set(Keys().run, "somebody")
    api.post("/v1/streams", json={"id": "within", "source": "rtsp://10.0.0.7/l"})
    assert {s: entry.run for s, entry in registry.entries().items()} == {
        "before": False,
        "within": True,
    }


def test_changes_are_applied_within_two_seconds_and_leave_others_alone(farm):
    """Two ingest workers share the streams; each change reaches the one that has the stream."""
    serving = serving_events(farm.url, allow_sources=KINDS)
    with serving as url, httpx.Client(base_url=url, timeout=10, headers=HEADERS) as api:
        farm.start("encoder", "temporal", "ingest", "ingest")
        ids = [f"cam{n}" for n in range(4)]
        for seed, stream_id in enumerate(ids):
            source = f"{CAMERA}&seed={seed}"
            assert api.post("/v1/streams", json={"id": stream_id, "source": source}).is_success
        farm.wait_for(lambda: all(states(farm, s)[-1:] == ["live"] for s in ids))
        before = {s: reading(farm, s) for s in ids[:3]}

        api.post("/v1/streams/cam3/pause")
        farm.wait_for(lambda: states(farm, "cam3")[-1:] == ["paused"])
        api.post("/v1/streams/cam3/resume")
        farm.wait_for(lambda: states(farm, "cam3")[-1:] == ["live"])
        other = f"{CAMERA}&seed=9"
        api.patch("/v1/streams/cam3", json={"source": other})
        farm.wait_for(lambda: states(farm, "cam3")[-3:] == ["ended", "connecting", "live"])
        assert other.encode() in bytes(farm.registry.get("cam3").source)
        api.delete("/v1/streams/cam3")
        farm.wait_for(lambda: states(farm, "cam3")[-1:] == ["ended"])
        farm.wait_for(lambda: "cam3" not in farm.registry.read()[0])

        for stream_id in ids[:3]:
            assert states(farm, stream_id) == ["connecting", "live"]
            assert reading(farm, stream_id) == before[stream_id]


def reading(farm, stream_id):
    """Who reads it, and since which opening."""
    lease = farm.client.hmget(farm.keys.watch(stream_id), "owner", "generation")
    return (*lease, farm.client.hget(farm.keys.source(stream_id), "epoch"))


def states(farm, stream_id):
    own = [e for e in farm.events() if e.stream_id == stream_id]
    return [e.data.state for e in own if e.type is EventType.STREAM_STATUS]
