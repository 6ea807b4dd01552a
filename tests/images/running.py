"""`make test-images`: the stack as its user runs it, on the images that are here.

Not collected with the other tests: it needs docker, or podman with podman-compose, and the images.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import time

import httpx
import pytest

from tests.images.stack import ROOT, ComposeStack

OURS = ("ingest", "encoder", "temporal", "gateway")
ROLES = {"ingest", "encoder", "temporal", "gateway"}
PATIENCE_SECONDS = 90.0
MAX_IMAGE_BYTES = 700_000_000
GRAFANA = "grafana/grafana"


@pytest.fixture(scope="module")
def stack():
    engine = subprocess.run([ROOT / "docker/engine.sh"], capture_output=True, text=True, check=True)
    images = subprocess.run(
        [engine.stdout.strip(), "images", "--format", "{{.Repository}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    without = [] if GRAFANA in images else ["grafana"]
    with ComposeStack(without=without, project="streamer-tested") as stack:
        with stack.events(seconds=PATIENCE_SECONDS) as events:
            next(events)
        yield stack


@pytest.fixture(scope="module")
def image(stack):
    return stack.inspect(stack.inspect(stack.container("ingest"))["Image"])


def eventually(look):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.5)
    return found


def entries(told):
    return [json.loads(line) for line in told.splitlines() if line[:1] == "{"]


def test_phases_of_all_cameras_come(stack):
    seen = set()
    with stack.events(seconds=PATIENCE_SECONDS) as events:
        for event in events:
            if event["type"].startswith("streamer.phase."):
                seen.add(event["source"])
            if len(seen) == 4:
                break
    assert seen == {f"/streams/workcell-{seed}" for seed in (7, 8, 9, 10)}


def test_nobody_comes_in_without_the_token(stack):
    with pytest.raises(httpx.HTTPStatusError) as caught:
        stack.get("gateway", "/v1/streams", token="0" * 64)
    assert caught.value.response.status_code == 401


@pytest.mark.parametrize("service", OURS)
def test_a_container_has_no_rights_and_nothing_to_write_to(stack, service):
    name = stack.container(service)
    assert stack.run("exec", name, "id", "-u").strip() == "10001"
    status = stack.run("exec", name, "grep", "-E", "^(CapEff|CapBnd|NoNewPrivs)", "/proc/1/status")
    assert {line.split()[0]: int(line.split()[1], 16) for line in status.splitlines()} == {
        "CapEff:": 0,
        "CapBnd:": 0,
        "NoNewPrivs:": 1,
    }
    for path in ("/x", "/opt/streamer/x", "/etc/x", "/usr/local/bin/x"):
        with pytest.raises(RuntimeError, match="Read-only file system"):
            stack.run("exec", name, "touch", path)
    stack.run("exec", name, "touch", "/tmp/x")


@pytest.mark.parametrize("service", [*OURS, "redis", "redis-exporter", "prometheus"])
def test_it_is_healthy(stack, service):
    name = stack.container(service)

    def healthy():
        if stack.engine == "docker":
            return stack.inspect(name)["State"]["Health"]["Status"] == "healthy"
        try:  # without systemd, podman has nobody who asks by the clock
            stack.run("healthcheck", "run", name)
        except RuntimeError:
            return False
        return True

    assert eventually(healthy)


def test_frames_go_through_shared_memory(stack):
    for service in ("ingest", "encoder"):
        rings = stack.run("exec", stack.container(service), "ls", "/dev/shm").split()
        assert len(rings) == 4
        assert all(name.startswith("streamer-ring-") for name in rings)


def test_corrections_can_be_written_and_stay(stack):
    stack.run("exec", stack.container("gateway"), "touch", "/data/corrections.csv")
    stack.compose("restart", "gateway")
    eventually(lambda: _answers(stack))
    assert "corrections.csv" in stack.run("exec", stack.container("gateway"), "ls", "/data")


def test_prometheus_scrapes_every_role_and_redis(stack):
    def up():
        answer = stack.get("prometheus", "/api/v1/query?query=up")
        good = [one["metric"] for one in answer["data"]["result"] if one["value"][1] == "1"]
        roles = {metric.get("role") for metric in good}
        return roles >= ROLES and {"redis", "prometheus"} <= {metric["job"] for metric in good}

    assert eventually(up)
    redis = stack.get("prometheus", "/api/v1/query?query=redis_up")["data"]["result"]
    assert [one["value"][1] for one in redis] == ["1"]


def test_what_waits_is_known(stack):
    def known(family):
        answer = stack.get("prometheus", f"/api/v1/query?query={family}")
        values = [float(one["value"][1]) for one in answer["data"]["result"]]
        return bool(values) and not any(math.isnan(value) for value in values)

    for family in ("streamer_frames_waiting", "streamer_input_lag_frames"):
        assert eventually(lambda family=family: known(family)), family


def tool(stack, *words):
    return stack.compose("--profile", "tools", "run", "--rm", "-T", "tools", *words)


def test_tools_run_commands_with_bundles_and_credentials(stack):
    assert "workcell-7" in tool(stack, "streams", "list")
    bundle = stack.directory / "bundles/mine"
    shutil.copytree(ROOT / "streamer/models/bundles/workcell", bundle)
    assert "mine" in tool(stack, "models", "verify", "/bundles/mine")
    (stack.directory / "secrets/cameras/door").write_text("admin:password\n")
    probe = "rtsp://127.0.0.1:9/x#credentials=file:/run/cameras/"
    with pytest.raises(RuntimeError, match="Connection refused"):
        tool(stack, "sources", "probe", f"{probe}door")
    with pytest.raises(RuntimeError, match="No such file"):
        tool(stack, "sources", "probe", f"{probe}gate")


def test_an_update_makes_the_running_server_read_its_users_again(stack):
    path = stack.directory / "secrets/redis-subscriber"
    path.chmod(0o644)
    path.write_text(path.read_text() + "a second password\n")
    ask = ("exec", "--env", "REDISCLI_AUTH=a second password", stack.container("redis"))
    ping = (*ask, "valkey-cli", "--user", "subscriber", "TIME")
    assert "NOAUTH" in stack.run(*ping)
    started = stack.inspect(stack.container("redis"))["State"]["StartedAt"]
    for service in ("users", "install"):  # in the order in which Docker Compose runs them
        stack.up(service)
        eventually(lambda name=service: ended(stack, name))
    assert "NOAUTH" not in stack.run(*ping)
    assert stack.inspect(stack.container("redis"))["State"]["StartedAt"] == started


def ended(stack, service):
    state = stack.inspect(stack.container(service))["State"]
    return state["Status"] == "exited" and state["ExitCode"] == 0


def test_a_second_up_changes_nothing_and_scales(stack):
    before = stack.get("gateway", "/v1/streams")["streams"]
    stack.up("--scale", "temporal=2")
    second = stack.container("temporal", 2)
    eventually(lambda: "ready" in [entry["event"] for entry in entries(stack.logs(second))])
    after = stack.get("gateway", "/v1/streams")["streams"]
    assert [one["id"] for one in after] == [one["id"] for one in before]


def test_nothing_is_denied_and_nothing_failed(stack):
    for service in OURS:
        told = stack.logs(stack.container(service))
        # The server may have come up after the worker.
        told_of = [one for one in entries(told) if one["level"] in ("warning", "error")]
        expected = ("failed", "tokens and events travel in the clear", "lost", "closed")
        assert [one for one in told_of if not one["event"].startswith(expected)] == []
        assert "denied" not in told


def test_no_secret_is_in_the_environment(stack):
    files = (stack.directory / "secrets").glob("*-*")
    secrets = [line for path in files for line in path.read_text().splitlines()]
    assert len(secrets) >= 10
    for service in (*OURS, "redis", "redis-exporter"):
        told = json.dumps(stack.inspect(stack.container(service)))
        assert not [secret for secret in secrets if secret in told]


class TestImage:
    """What is in it."""

    def test_it_is_small(self, image):
        assert image["Size"] <= MAX_IMAGE_BYTES

    def test_its_labels(self, image):
        labels = image["Config"]["Labels"]
        prefix = "org.opencontainers.image."
        assert labels[f"{prefix}licenses"] == "Apache-2.0"
        assert labels[f"{prefix}version"] == image["RepoTags"][0].split(":")[-1].split("-")[0]
        assert len(labels[f"{prefix}revision"]) == 40

    def test_its_bill_of_materials_is_what_is_installed(self, stack):
        name = stack.container("ingest")
        sbom = json.loads(stack.run("exec", name, "cat", "/usr/share/doc/streamer/sbom.cdx.json"))
        listed = {one["name"].lower().replace("_", "-") for one in sbom["components"]}
        code = (
            "import importlib.metadata as m; "
            "print(*(d.metadata['Name'].lower().replace('_', '-') for d in m.distributions()))"
        )
        installed = set(stack.run("exec", name, "/opt/streamer/bin/python", "-c", code).split())
        assert installed - {"streamer"} <= listed
        assert {"libc6", "python3.11", "onnxruntime"} <= listed
        assert not {"torch", "pip", "pytest"} & installed

    def test_nothing_of_the_build_is_left(self, stack):
        name = stack.container("ingest")
        for path in ("/etc/pip.conf", "/src", "/opt/sbom", "/usr/bin/gcc", "/usr/bin/pip3"):
            with pytest.raises(RuntimeError, match="No such file"):
                stack.run("exec", name, "ls", path)


def test_a_backup_comes_back(stack):
    """By the commands of the page, at the end: the workers' server is gone for a while."""
    page = (ROOT / "docs/deploy.md").read_text()
    save, restore = re.findall(r"^```sh\n(docker compose stop redis\n.*?)^```", page, re.M | re.S)
    stack.shell(save)
    eventually(lambda: "workcell-10" in _streams(stack))
    tool(stack, "streams", "remove", "workcell-10")
    assert "workcell-10" not in _streams(stack)
    stack.shell(restore)
    eventually(lambda: "workcell-10" in _streams(stack))


def _streams(stack):
    try:
        return tool(stack, "streams", "list")
    except RuntimeError:  # the server is not up yet
        return ""


def _answers(stack):
    try:
        return stack.get("gateway", "/v1/health")
    except httpx.HTTPError:
        return None
