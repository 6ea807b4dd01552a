"""The whole pipeline, each worker as a user who may do what it needs and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import json
import time

import httpx
import pytest

from streamer.client import subscribe
from streamer.core.event import EventType
from streamer.transport.permissions import Role
from tests.gateways import bearer
from tests.guarded import ALL, GuardedFarm, GuardedServer
from tests.servers import SERVERS
from tests.workers import get

CAMERA = "synthetic:workcell?fps=10"


@pytest.fixture(params=SERVERS if ALL else ["valkey"])
def server(request, tmp_path):
    with GuardedServer(request.param, tmp_path) as running:
        yield running


@pytest.fixture
def farm(server, tmp_path):
    (tmp_path / "farm").mkdir()
    with contextlib.closing(GuardedFarm(server, tmp_path / "farm")) as made:
        yield made


def test_everything_works_and_nothing_is_denied(server, farm, tmp_path, runs_apart):
    admin = Role.ADMIN
    assert "functions are loaded" in server.command(admin, "redis", "install").stdout
    token = server.command(admin, "token", "create", "page", "--scope", "admin").stdout.strip()
    kinds = "gateway__allow_sources"
    first = farm.start("temporal", redis__replay_seconds=200, temporal__lease_seconds=2)[0]
    *_, gateway = farm.start("ingest", "encoder", "gateway", **{kinds: "rtsp,synthetic"})
    for worker in farm.workers:
        role = worker.name
        assert "may do all" in server.command(role, "redis", "check", role).stdout

    server.command(admin, "streams", "add", f"one={CAMERA}")
    farm.wait_for(lambda: _seen(farm, "one") > 3)
    _follow(server)
    with httpx.Client(
        base_url=f"http://127.0.0.1:{gateway.ready.port}", headers=bearer(token), timeout=20
    ) as api:
        _use_the_page(api, farm)
    _change_models(server, farm, tmp_path)

    farm.start("temporal", redis__replay_seconds=200, temporal__lease_seconds=2)
    first.terminate()
    first.finish(deadline=time.monotonic() + 6)
    seen = _seen(farm, "one")
    farm.wait_for(lambda: _seen(farm, "one") > seen)
    told = server.command(admin, "events", "replay", "--verify", "--stream", "one")
    assert ": equal" in told.stdout
    assert "one" in server.command(admin, "top", "--once").stdout
    assert json.loads(server.command(admin, "streams", "list", "--json").stdout.splitlines()[0])
    assert "redis" in server.command(admin, "doctor", "--redis", server.url).stdout

    server.command(admin, "streams", "remove", "one")
    farm.wait_for(lambda: _states(farm, "one")[-1:] == ["ended"])
    farm.wait_for(lambda: farm.registry.read() == ({}, {}))
    server.command(admin, "token", "list")
    server.command(admin, "token", "revoke", "page")
    server.command(admin, "redis", "reload")
    for worker in farm.workers[1:]:
        assert get(worker, "/readyz") == (200, "ready\n")
    assert server.denials() == []
    for worker in farm.workers:
        assert "denied" not in worker.log_path.read_text()


def _follow(server):
    access = server.access(Role.SUBSCRIBER)
    with subscribe(server.url, access=access, since="0", follow=False) as events:
        assert {event.stream_id for event in events} == {"one"}
    with subscribe(server.url, access=access, since="1h") as events:
        assert len(list(itertools.islice(events, 2))) == 2
    told = server.command(Role.SUBSCRIBER, "events", "tail", "--no-follow", "--json")
    assert json.loads(told.stdout.splitlines()[0])["source"] == "/streams/one"


def _use_the_page(api, farm):
    assert api.post("/v1/streams", json={"source": f"two={CAMERA}&seed=4"}).status_code == 201
    farm.wait_for(lambda: _seen(farm, "two") > 1)
    listed = api.get("/v1/streams").json()["streams"]
    assert [stream["id"] for stream in listed] == ["one", "two"]
    farm.wait_for(lambda: api.get("/v1/streams/two/preview.jpg").status_code == 200)
    event = next(
        e for e in farm.events() if e.stream_id == "one" and e.type is EventType.PHASE_TRANSITION
    )
    frame = f"{event.data.frame.epoch}-{event.data.frame.seq}"
    farm.wait_for(lambda: api.get(f"/v1/streams/one/snapshots/{frame}.jpg").status_code == 200)
    for path in ("/v1/models", "/v1/events/history", "/v1/streams/one/timeline", "/v1/health"):
        assert api.get(path).status_code == 200, path
    assert api.post("/v1/streams/two/pause").json()["paused"]
    farm.wait_for(lambda: _states(farm, "two")[-1:] == ["paused"])
    assert not api.post("/v1/streams/two/resume").json()["paused"]
    farm.wait_for(lambda: _states(farm, "two")[-1:] == ["live"])
    assert api.delete("/v1/streams/two").status_code == 204
    farm.wait_for(lambda: _states(farm, "two")[-1:] == ["ended"])


def _change_models(server, farm, tmp_path):
    """The same weights under another name are another model."""
    server.command(Role.ADMIN, "models", "use", "workcell")
    assert "workcell" in server.command(Role.ADMIN, "models", "list", "--redis", server.url).stdout
    server.command(Role.ADMIN, "models", "unuse")


def _seen(farm, stream_id):
    return sum(event.stream_id == stream_id for event in farm.events())


def _states(farm, stream_id):
    return [
        event.data.state
        for event in farm.events()
        if event.stream_id == stream_id and event.type is EventType.STREAM_STATUS
    ]
