"""What workers and commands say, and do, when Redis refuses them."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.client import RedisAccess, subscribe
from streamer.core.errors import AccessDeniedError, ConfigError, StreamerError
from streamer.runtime.supervisor import WorkerFailed, child_environment
from streamer.transport.connection import connect, reconnect, redis_errors
from streamer.transport.permissions import Grants, Role
from tests.guarded import GuardedFarm, GuardedServer, password_of
from tests.workers import get


@pytest.fixture
def server(tmp_path):
    with GuardedServer("valkey", tmp_path) as running:
        running.install()
        yield running


@pytest.fixture
def farm(server, tmp_path):
    (tmp_path / "farm").mkdir()
    with contextlib.closing(GuardedFarm(server, tmp_path / "farm")) as made:
        yield made


def lacking(role, command, key=""):
    found = [p for p in Grants.of(role).permissions if (p.command, p.key) == (command, key)]
    return Grants.of(role).without(*found)


def lines_of(worker):
    return [json.loads(line) for line in worker.log_path.read_text().splitlines()]


def test_a_worker_that_lacks_permissions_ends_with_one_line(server, farm):
    server.grant(lacking(Role.TEMPORAL, "hset", "state"))
    with pytest.raises(WorkerFailed, match="user temporal may not run HSET"):
        farm.start("temporal")
    (worker,) = farm.workers
    assert worker.exit_code == 1
    (line,) = lines_of(worker)
    assert line["level"] == "error"
    assert "its ACL rules must have (+hset %W~streamer:{*}:state:*)" in line["error"]


def test_a_worker_that_is_denied_later_says_so_and_goes_on_when_it_is_granted(server, farm):
    farm.want("cam=synthetic:workcell?fps=10")
    ingest, encoder, temporal = farm.start("ingest", "encoder", "temporal")
    farm.wait_for(lambda: len(farm.events()) > 2)
    server.grant(lacking(Role.TEMPORAL, "xadd", "events"))
    farm.wait_for(lambda: get(temporal, "/readyz")[0] == 503)
    phase, reason = get(temporal, "/readyz")[1].splitlines()
    assert phase == "denied"
    assert "user temporal may not run XADD on streamer:{*}:events" in reason
    assert get(temporal, "/livez")[0] == 200
    server.grant(Grants.of(Role.TEMPORAL))
    farm.wait_for(lambda: get(temporal, "/readyz")[0] == 200)
    before = len(farm.events())
    farm.wait_for(lambda: len(farm.events()) > before)
    denied = [line for line in lines_of(temporal) if line["event"] == "denied"]
    assert len(denied) == 1
    assert [e.number for e in farm.events()] == list(range(len(farm.events())))
    for worker in (ingest, encoder):
        assert get(worker, "/readyz")[0] == 200


def test_a_password_is_changed_while_a_worker_runs(server, farm):
    """Both are valid for a while; the file says which is used."""
    secret = server.secret(Role.ENCODER)
    (encoder,) = farm.start("encoder")
    old = password_of(Role.ENCODER)
    secret.write_text(f"{old}\nnew\n")
    server.write_users()
    server.command(Role.ADMIN, "redis", "reload")
    secret.write_text(f"new\n{old}\n")
    connect_again(server, farm, encoder)
    secret.write_text("new\n")
    server.write_users()
    server.command(Role.ADMIN, "redis", "reload")
    connect_again(server, farm, encoder)
    assert "denied" not in encoder.log_path.read_text()
    assert "new" not in encoder.log_path.read_text()
    secret.write_text(old)
    with pytest.raises(AccessDeniedError, match="does not know user encoder"):
        connect(server.url, access=server.access(Role.ENCODER))


def connect_again(server, farm, worker):
    """Have it lose its connections, and wait until it works again."""
    before = connections_of(server, worker.name)
    server.root.client_kill_filter(user=worker.name)
    farm.wait_for(lambda: connections_of(server, worker.name) - before)
    farm.wait_for(lambda: get(worker, "/readyz")[0] == 200)


def connections_of(server, user):
    with server.as_root(decode_responses=True) as root:
        return {client["id"] for client in root.client_list() if client["user"] == user}


def test_the_password_s_file_is_read_at_every_connection(server):
    secret = server.secret(Role.ADMIN)
    with contextlib.closing(connect(server.url, access=server.access(Role.ADMIN))) as client:
        secret.unlink()
        assert client.time()  # the connection there is goes on
        reconnect(client)
        with pytest.raises(AccessDeniedError, match=f"redis.password_file: {secret}"):
            ask(client)
        secret.write_text("")
        with pytest.raises(AccessDeniedError, match="found an empty line"):
            ask(client)
        secret.write_text("wrong")
        with pytest.raises(AccessDeniedError, match=f"with the password in {secret}"):
            ask(client)
        secret.write_text(password_of(Role.ADMIN) + "\n")
        ask(client)


def ask(client):
    with redis_errors("ask"):
        client.time()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_file_of_others_is_told_with_its_setting(server, tmp_path):
    secret = tmp_path / "private"
    secret.write_text("x")
    secret.chmod(0o000)
    code = (
        "import os, sys; from streamer.transport.access import read_password as r; "
        "os.setuid(65534)\ntry: r(sys.argv[1])\nexcept Exception as e: print(e)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(secret)], capture_output=True, text=True, check=True
    )
    assert f"redis.password_file: {secret}: expected a file" in said.stdout
    assert "Permission denied" in said.stdout


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"USERNAME": "nobody"}, "the server does not know user nobody with the password in"),
        ({"PASSWORD_FILE": "/nowhere"}, "redis.password_file: /nowhere: expected a file"),
        ({"TLS_CA": "/nowhere"}, "redis.tls_ca: expected redis.url with rediss://"),
    ],
)
@pytest.mark.parametrize("command", ["events tail", "token list", "streams list", "top --once"])
def test_commands_say_what_is_wrong(server, command, changed, expected):
    environment = {
        **server.environment(Role.SUBSCRIBER),
        **{f"STREAMER_REDIS__{name}": value for name, value in changed.items()},
    }
    result = CliRunner().invoke(app, command.split(), env=environment)
    assert isinstance(result.exception, StreamerError)
    assert expected in str(result.exception)
    assert "\n" not in str(result.exception)
    assert "pa,ss" not in str(result.exception) + result.output


def test_a_command_that_is_refused_ends_with_one_line(server):
    environment = {**child_environment(), **server.environment(Role.SUBSCRIBER)}
    said = subprocess.run(
        [sys.executable, "-m", "streamer.cli.main", "token", "list"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert said.returncode == 1
    assert "user subscriber may not run HGETALL on streamer:tokens" in said.stderr
    assert said.stderr.count("\n") == 1


def test_a_subscriber_is_told_what_it_lacks(server):
    server.grant(lacking(Role.SUBSCRIBER, "xread", "events"))
    access = server.access(Role.SUBSCRIBER)
    with (
        subscribe(server.url, access=access, since="0") as events,
        pytest.raises(AccessDeniedError, match="user subscriber may not run XREAD"),
    ):
        next(events)
    with pytest.raises(ConfigError, match=r"found one with them"):
        subscribe("redis://user:s3cret@127.0.0.1:1", access=access)


def test_a_url_with_a_user_is_as_good(server):
    password = "pa,ss@w/rd of subscriber".replace("@", "%40").replace("/", "%2F")
    url = f"redis://subscriber:{password.replace(' ', '%20')}@127.0.0.1:{server.port}"
    with subscribe(url, since="0", follow=False) as events:
        assert list(events) == []
    with pytest.raises(AccessDeniedError, match=r"with the password in redis\.url"):
        connect(url.replace("pa,ss", "other"), access=RedisAccess())


def test_a_gateway_says_it_is_denied_and_recovers(server, farm):
    server.command(Role.ADMIN, "token", "create", "page")
    (gateway,) = farm.start("gateway")
    server.grant(lacking(Role.GATEWAY, "hgetall", "tokens"))
    farm.wait_for(lambda: get(gateway, "/readyz")[0] == 503)
    assert "may not run HGETALL on streamer:tokens" in get(gateway, "/readyz")[1]
    server.grant(Grants.of(Role.GATEWAY))
    farm.wait_for(lambda: get(gateway, "/readyz")[0] == 200)
    server.grant(lacking(Role.GATEWAY, "xread", "events"))
    farm.wait_for(lambda: "may not run XREAD" in get(gateway, "/readyz")[1])
    server.grant(Grants.of(Role.GATEWAY))
    farm.wait_for(lambda: get(gateway, "/readyz")[0] == 200)
