"""The compose stack's files, as far as they can be checked without an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.images import composefile

ROOT = Path(__file__).parents[2]
HERE = ROOT / "deploy/compose"
TEXT = (HERE / "compose.yaml").read_text()
OF_ALERTMANAGER = ("alert-webhook-token", "alert-mail-password")
EXAMPLE = (HERE / ".env.example").read_text()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """What `secrets.sh` is run in: nothing of it may reach the working tree."""
    root = tmp_path_factory.mktemp("checkout")
    left_out = shutil.ignore_patterns("secrets", "bundles", ".env")
    shutil.copytree(ROOT / "deploy", root / "deploy", ignore=left_out)
    shutil.copytree(ROOT / "docker", root / "docker")
    said = subprocess.run(
        [root / "deploy/compose/secrets.sh"], capture_output=True, text=True, check=True
    ).stdout
    return root, said


@pytest.fixture(scope="module")
def folder(checkout):
    return checkout[0] / "deploy/compose"


def test_nothing_is_wrong_with_it(folder):
    assert composefile.problems(TEXT, folder=folder) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("read_only: true", "read_only: false", "root file system can be written to"),
        ("volume: { nocopy: true }", "volume: {}", "encoder: Docker would give its frames"),
        ("args: { VERSION: 0.1.0 }", "args: { VERSION: 0.0.9 }", "expected the version of"),
        ('restart: "no"', "restart: always", "tools: it does not come back"),
        ("alert-webhook-token, alert", "alert", "secret alert-webhook-token is used by nobody"),
        ("streamer redis reload;", "streamer redis reread;", "install: redis reread"),
        ("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "it has capabilities"),
        ("security_opt: [no-new-privileges]", "privileged: true", "it may gain privileges"),
        ("restart: unless-stopped", 'restart: "no"', "it does not come back"),
        ("max-size: 10m, ", "", "logs grow without end"),
        ("pids: 1024 }", "}", "ingest: no limit of pids"),
        ('"127.0.0.1:${GATEWAY_PORT:-8080}:8080"', '"8080:8080"', "open to the network"),
        ("valkey:9.1.2-alpine", "valkey:latest", "an image with a version"),
        ("prometheus:v3.13.3", "prometheus", "an image with a version"),
        ('user: "472:0"', "", "grafana: it runs as root"),
        ("../redis/valkey.conf:", "../redis/redis.conf:", "../redis/redis.conf does not exist"),
        ("- redis-users:/users:ro", "- redis-people:/users:ro", "no volume redis-people"),
        ("/bundles:ro", "/bundles", "can be written to"),
        ("[worker, temporal]", "[worker, temporel]", "temporel"),
        ("- --keep\n", "- --hold\n", "camera: streams add --hold"),
        ("streamer redis install]", "streamer redis instal]", "install: redis instal"),
        ("streamer redis acl --secrets", "streamer redis acl --folder", "users: redis acl"),
        ("STREAMER_GATEWAY__TOKEN_FILE", "STREAMER_GATEWAY__TOKENFILE", "unknown variable"),
        ("STREAMER_LOG_LEVEL:-info", "STREAMER_LOG_LEVEL:-loud", "log.level"),
        ("secrets: [redis-encoder]", "secrets: []", "/run/secrets/redis-encoder is not mounted"),
        ("secrets: [redis-monitor]", "secrets: []", "redis: /run/secrets/redis-monitor is not"),
        ("  redis-subscriber: { f", "  redis-subscriber2: { f", "no secret redis-subscriber"),
        ("./secrets/redis-admin }", "./secrets/redis_admin }", "redis_admin is not made"),
        ("redis: { condition: service_healthy }", "redis: { condition: service_started }", "never"),
        ("install: { condition: service_comp", "install: { condition: service_st", "never so"),
        ("      users: { condition", "      user: { condition", "on user, which is no service"),
        ("GF_LOG_MODE: console", "GF_SECURITY_ADMIN_PASSWORD: hunter2", "holds a secret"),
        ("GF_LOG_MODE: console", "GF_LOG_MODE: 0123456789abcdef0123456789abcdef", "a secret"),
        ("dockerfile: docker/Dockerfile", "dockerfile: Dockerfile", "no Dockerfile there"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(folder, old, new, problem):
    assert old in TEXT
    found = composefile.problems(TEXT.replace(old, new), folder=folder)
    assert any(problem in one for one in found), found


def test_it_is_as_the_compose_specification_says(tmp_path):
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*check, HERE / "compose.yaml"], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(TEXT.replace("healthcheck:", "health_check:"))
    assert subprocess.run([*check, wrong], capture_output=True, check=False).returncode == 1


def test_podman_compose_reads_it(folder, tmp_path):
    # It asks for the version before it reads anything.
    podman = tmp_path / "podman"
    podman.write_text("#!/bin/sh\necho podman version 5.6.0\n")
    podman.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-m", "podman_compose", "--file", "compose.yaml", "config"],
        cwd=folder,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "GATEWAY_PORT": "18080"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services["gateway"]["ports"] == ["127.0.0.1:18080:8080"]
    assert services["temporal"]["command"] == ["worker", "temporal"]
    assert services["temporal"]["read_only"] is True


def test_it_runs_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    defaults = composefile.variables(TEXT)
    assert defaults["STREAMER_IMAGE"] == f"streamer:{version}-cpu"
    assert defaults["STREAMER_GPU_IMAGE"] == f"streamer:{version}-gpu"


def test_the_example_of_an_environment_has_every_variable_at_its_default():
    shown = dict(re.findall(r"^#(\w+)=(.*)$", EXAMPLE, flags=re.MULTILINE))
    # Docker Compose's own.
    assert shown.pop("COMPOSE_PROFILES") == ""
    assert shown == composefile.variables(TEXT)


class TestSecrets:
    """`secrets.sh`."""

    def test_each_is_random_and_closed_to_others(self, folder):
        secrets = folder / "secrets"
        assert secrets.stat().st_mode & 0o077 == 0
        files = [path for path in secrets.iterdir() if path.is_file()]
        assert {path.name for path in files} == composefile.load(TEXT)["secrets"].keys()
        others = {"redis-exporter", *OF_ALERTMANAGER}
        values = [path.read_text().strip() for path in files if path.name not in others]
        assert len(values) == len(set(values)) == len(files) - len(others)
        assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in values)
        # Containers' users are others than who made them.
        assert all(path.stat().st_mode & 0o777 == 0o444 for path in files)

    def test_the_exporter_gets_the_monitor_s(self, folder):
        passwords = json.loads((folder / "secrets/redis-exporter").read_text())
        environment = composefile.load(TEXT)["services"]["redis-exporter"]["environment"]
        address = environment["REDIS_ADDR"].replace("//", f"//{environment['REDIS_USER']}@")
        assert passwords[address] == (folder / "secrets/redis-monitor").read_text().strip()

    def test_alertmanager_has_the_files_that_its_receivers_read(self, folder):
        text = (ROOT / "deploy/alertmanager/alertmanager.yml").read_text()
        read = set(re.findall(r"/run/secrets/([\w-]+)", text))
        assert read == set(composefile.load(TEXT)["services"]["alertmanager"]["secrets"])
        assert read == set(OF_ALERTMANAGER)
        assert all((folder / "secrets" / name).read_text() == "" for name in read)

    def test_it_names_the_ports_of_env(self, folder):
        (folder / ".env").write_text("GATEWAY_PORT=18080\n#GRAFANA_PORT=1\nGRAFANA_PORT='13000'\n")
        said = self.run(folder).stdout
        assert "http://127.0.0.1:18080/?token=" in said
        assert "http://127.0.0.1:13000, user admin" in said
        # As compose does: what is in the environment goes before.
        said = self.run(folder, GATEWAY_PORT="28080").stdout
        assert "http://127.0.0.1:28080/?token=" in said
        (folder / ".env").unlink()

    def test_what_containers_could_not_read_is_named(self, folder):
        rules = folder.parent / "prometheus/rules"
        rules.chmod(0o750)
        done = self.run(folder)
        rules.chmod(0o755)
        assert done.returncode == 1
        assert "../prometheus/rules is not" in done.stderr
        assert f"chmod -R o+rX {folder.parent}/prometheus" in done.stderr
        assert self.run(folder).returncode == 0

    @staticmethod
    def run(folder, **variables):
        return subprocess.run(
            [folder / "secrets.sh"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_what_is_there_stays(self, checkout, folder):
        token = (folder / "secrets/gateway-token").read_text()
        assert f"http://127.0.0.1:8080/?token={token}" in checkout[1]
        (folder / "secrets/redis-admin").unlink()
        said = subprocess.run([folder / "secrets.sh"], capture_output=True, text=True, check=True)
        assert (folder / "secrets/gateway-token").read_text() == token
        assert "made secrets/redis-admin" in said.stdout
        assert "made secrets/gateway-token" not in said.stdout

    @pytest.mark.parametrize("path", ["secrets/redis-admin", "secrets/cameras/door", ".env"])
    def test_none_can_be_committed(self, path):
        ignored = subprocess.run(
            ["git", "check-ignore", "--quiet", HERE / path], cwd=ROOT, check=False
        )
        assert ignored.returncode == 0
        shown = subprocess.run(
            ["git", "check-ignore", "--quiet", HERE / ".env.example"], cwd=ROOT, check=False
        )
        assert shown.returncode == 1
