"""The configuration, the users and the exporter that ship: each is really run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamer.cli.app import app
from streamer.transport.acl import acl_template
from streamer.transport.permissions import Role, permissions_table
from tests.guarded import ALL, GuardedServer, password_of
from tests.loopback import free_port, wait_for
from tests.servers import SERVERS, binary_of

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


def scraped(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except OSError:
        return None
