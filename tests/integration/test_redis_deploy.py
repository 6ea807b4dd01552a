"""The configuration, the users and the exporter that ship: each is really run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import redis
import yaml
from redis.exceptions import NoPermissionError
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.transport.acl import acl_template
from streamer.transport.permissions import Role, permissions_table
from tests.guarded import ALL, GuardedServer, password_of
from tests.loopback import free_port, wait_for
from tests.servers import SERVERS, binary_of
from tests.typing_session import end_daemons

DEPLOY = Path(__file__).parents[2] / "deploy" / "redis"
DOCS = Path(__file__).parents[2] / "docs"


def directives(text):
    """Those of a configuration file, comments left out."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize("kind", SERVERS)
def test_the_configuration_starts_a_server_that_keeps_what_it_promises(kind, tmp_path):
    given = directives((DEPLOY / "valkey.conf").read_text())
    # Where this machine differs from production.
    differs = ("bind", "port", "aclfile")
    options = {name: value for name, value in given.items() if name not in differs}
    with GuardedServer(kind, tmp_path, options=options) as server:
        server.install()
        found = server.as_root(decode_responses=True).config_get("*")
        for name, value in options.items():
            if name not in ("auto-aof-rewrite-min-size", "bind", "save"):
                assert found[name] == value, name
        assert found["auto-aof-rewrite-min-size"] == str(256 * 2**20)
        assert found["maxmemory-policy"] == "noeviction"
    assert given["aclfile"] == "/etc/valkey/users.acl"


@pytest.mark.parametrize("kind", SERVERS)
def test_other_hosts_can_come_in_and_strangers_can_t(kind, tmp_path):
    """Protected mode takes 127.0.0.1 alone for this host, and 127.0.0.2 for another."""
    given = directives((DEPLOY / "valkey.conf").read_text())
    options = {"protected-mode": given["protected-mode"], "bind": "127.0.0.1 127.0.0.2"}
    assert options["protected-mode"] == "yes"
    with GuardedServer(kind, tmp_path, options=options) as server:
        user = f'AUTH monitor "{password_of(Role.MONITOR)}"'
        assert said(server.port, "PING") == "-NOAUTH Authentication required."
        assert said(server.port, user, "PING") == "+OK +PONG"


def said(port, *lines):
    """What a server answers a client of another address."""
    with socket.create_connection(
        ("127.0.0.2", port), timeout=5, source_address=("127.0.0.2", 0)
    ) as connection:
        connection.sendall("".join(f"{line}\r\n" for line in (*lines, "QUIT")).encode())
        answers = connection.makefile("rb").read().decode().split("\r\n")
    return " ".join(answers[: len(lines)])


def test_every_commented_line_is_a_directive_too(tmp_path):
    """Those of TLS as well: what somebody uncomments must be right."""
    text = (DEPLOY / "valkey.conf").read_text()
    commented = re.findall(r"^# ([a-z]+(?:-[a-z]+)*) (\S+)$", text, re.M)
    names = {name for name, _ in commented}
    assert {"tls-port", "tls-cert-file", "tls-auth-clients", "maxmemory", "port"} <= names
    with GuardedServer("redis", tmp_path) as server:
        known = server.as_root(decode_responses=True).config_get("*")
    assert names <= known.keys()


def test_the_template_is_the_table_s():
    assert (DEPLOY / "users.acl.template").read_text() == acl_template()
    told = CliRunner().invoke(app, ["redis", "acl", "--template"])
    assert told.stdout == acl_template()


def test_the_page_has_the_table():
    page = (DOCS / "redis.md").read_text()
    assert permissions_table() in page, "paste what `streamer redis permissions` prints"
    assert CliRunner().invoke(app, ["redis", "permissions"]).stdout == permissions_table()


@pytest.mark.skipif(not ALL, reason="make test-redis: it takes half a minute")
def test_every_command_of_the_page_does_what_it_says(runs_apart):
    page = (DOCS / "redis.md").read_text()
    blocks = re.findall(r"^(<!-- parsed: [^\n]+ -->\n)?```sh\n(.*?)^```$", page, re.M | re.S)
    typed = [script for parsed, script in blocks if not parsed]
    assert len(typed) >= 10
    binary_of("redis")
    program = runs_apart / "bin" / "streamer"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m streamer.cli.main "$@"\n')
    program.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STREAMER_")}
    try:
        said = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(typed)],
            cwd=runs_apart,
            env={
                **kept,
                "PATH": f"{program.parent}:{kept['PATH']}",
                "PYTHONPATH": str(DOCS.parent),
                "XDG_RUNTIME_DIR": str(runs_apart),
            },
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    finally:
        end_daemons(runs_apart)
    assert said.returncode == 0, said.stderr
    for expected in (
        "functions are loaded, partitions: 1",
        "the user may do all that temporal does",
        "door is added",
        "the server has read its users again",
    ):
        assert expected in said.stdout
    assert (runs_apart / "secrets" / "redis-encoder").read_text().count("\n") == 1


@pytest.mark.parametrize("kind", SERVERS)
def test_the_exporter_is_denied_nothing(kind, tmp_path):
    program = shutil.which("prometheus-redis-exporter")
    if program is None:
        reason = "there is no prometheus-redis-exporter; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with GuardedServer(kind, tmp_path) as server:
        server.denials()
        port = free_port()
        environment = {"REDIS_USER": "monitor", "REDIS_PASSWORD": password_of(Role.MONITOR)}
        exporter = subprocess.Popen(
            [
                *(program, f"-redis.addr={server.url}", f"-web.listen-address=127.0.0.1:{port}"),
                *("-config-command=-", "-set-client-name=false"),
            ],
            env={**os.environ, **environment},
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: scraped(port) is not None, "the exporter")
            metrics = scraped(port)
        finally:
            exporter.kill()
            exporter.wait()
        assert "redis_up 1" in metrics
        for name in ("redis_memory_used_bytes", "redis_slowlog_length", "redis_connected_clients"):
            assert f"\n{name}" in metrics
        assert server.denials() == []


CLIENT = re.compile(r"(?:redis|valkey)-cli --user ([a-z]+) ([^`\n]+)")
TOLD_TO = [DOCS / "deploy.md", DOCS / "operate.md", *sorted((DOCS / "runbooks").glob("*.md"))]


def test_what_pages_ask_of_the_server_its_users_may(tmp_path):
    """Whoever follows a runbook must not be refused."""
    asked = [found for page in TOLD_TO for found in CLIENT.findall(page.read_text())]
    assert {user for user, _ in asked} == {"admin", "monitor"}
    with GuardedServer("valkey", tmp_path) as server:
        for user, command in asked:
            with bare(server, user) as client:
                client.execute_command(*shlex.split(command))
        assert server.denials() == []


@pytest.mark.parametrize("page", TOLD_TO, ids=lambda page: page.stem)
def test_no_page_asks_the_server_as_nobody(page):
    text = page.read_text()
    assert len(re.findall(r"(?:redis|valkey)-cli ", text)) == len(CLIENT.findall(text))


def test_an_update_gives_a_running_server_its_new_users(tmp_path):
    """What `install` of the compose file does, after `users` has written the file anew."""
    compose = yaml.safe_load((DEPLOY.parent / "compose/compose.yaml").read_text())
    script = compose["services"]["install"]["entrypoint"][-1]
    with GuardedServer("valkey", tmp_path) as server:
        text = server.acl_path.read_text()
        (line,) = re.findall(r"^user subscriber .*\n", text, re.M)
        server.acl_path.write_text(text.replace(line, line.replace(" +time", "")))
        server.root.acl_load()
        assert not may_ask_the_time(server)
        server.acl_path.write_text(text)
        assert not may_ask_the_time(server)
        for command in script.split(";"):
            server.command(Role.ADMIN, *command.split()[1:])
        assert may_ask_the_time(server)
        assert server.root.function_list()


def may_ask_the_time(server):
    with bare(server, Role.SUBSCRIBER) as client:
        try:
            client.time()
        except NoPermissionError:
            return False
    return True


def bare(server, user):
    """A connection that asks for nothing by itself."""
    port, password = server.port, password_of(user)
    return redis.Redis(port=port, username=user, password=password, driver_info=None)


def scraped(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None
