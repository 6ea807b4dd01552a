"""A real Prometheus, configured as it is deployed but for where its targets are."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.dashboards import PROMETHEUS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

START_SECONDS = 20.0

GRAFANA_URL = "https://grafana.example:8443"
"""Given to Prometheus as the compose file does."""


def needed(program: str) -> str:
    """Where a program from Debian is; without it the test is skipped, and fails with CI=true."""
    path = shutil.which(program)
    if path is None:
        reason = f"there is no {program}; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    """One that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quick_configuration(folder: Path, targets: Mapping[str, dict[str, Any]]) -> Path:
    """The deployed configuration, once a second and without waiting.

    Args:
        folder: Where to write it.
        targets: By job, its service discovery.
    """
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
    del config["alerting"]
    for job in config["scrape_configs"]:
        for key in [key for key in job if key.endswith("_sd_configs") or key == "static_configs"]:
            del job[key]
        job.pop("scrape_timeout", None)
        job |= targets[job["job_name"]]
    rules = folder / "rules"
    rules.mkdir()
    for path in (PROMETHEUS / "rules").glob("*.yml"):
        file = yaml.safe_load(path.read_text())
        for group in file["groups"]:
            group.pop("interval", None)
            for rule in group["rules"]:
                rule.pop("for", None)
        (rules / path.name).write_text(yaml.safe_dump(file))
    made = folder / "prometheus.yml"
    made.write_text(yaml.safe_dump(config))
    return made


class Prometheus:
    """Asks one.

    Attributes:
        url: Of its HTTP API.
        begun: When it was started, seconds since 1970.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"
        self.begun = time.time()
        self._client = httpx.Client(timeout=10.0)

    def now(self, expr: str) -> list[dict[str, Any]]:
        """The series an expression gives now."""
        result: list[dict[str, Any]] = self._ask("query", query=expr)["result"]
        return result

    def over_time(self, expr: str) -> list[dict[str, Any]]:
        """The series an expression has given since the start, with a number at least once."""
        span = {"start": self.begun, "end": time.time(), "step": 1}
        series = self._ask("query_range", query=expr, **span)["result"]
        return [one for one in series if any(value != "NaN" for _, value in one["values"])]

    def label_values(self, label: str, selector: str) -> list[str]:
        """Values that a label has among these series."""
        values: list[str] = self._ask(f"label/{label}/values", **{"match[]": selector})
        return values

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def ready(self) -> bool:
        """Whether it serves."""
        try:
            answer = self._client.get(self.url.removesuffix("/api/v1") + "/-/ready")
        except httpx.TransportError:
            return False
        return answer.status_code == 200

    def close(self) -> None:
        self._client.close()

    def _ask(self, path: str, **parameters: Any) -> Any:
        answer = self._client.get(f"{self.url}/{path}", params=parameters)
        said = answer.json()
        assert said["status"] == "success", f"{said.get('error')}: {parameters}"
        return said["data"]


@contextlib.contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, dict[str, Any]]) -> Iterator[Prometheus]:
    """One, while entered. Its own port is added as the job `prometheus`.

    Args:
        folder: For its files.
        targets: As for `quick_configuration`.
    """
    program, port = needed("prometheus"), free_port()
    own = {"static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    config = quick_configuration(folder, {**targets, "prometheus": own})
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        # Prometheus 3 expands them without being told.
        "--enable-feature=exemplar-storage,expand-external-labels",
        "--log.level=warn",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        environment = {**os.environ, "GRAFANA_URL": GRAFANA_URL}
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    prometheus = Prometheus(port)
    try:
        wait_until(prometheus.ready, f"Prometheus: {folder / 'prometheus.log'}")
        yield prometheus
    finally:
        prometheus.close()
        process.terminate()
        process.wait(timeout=10)


@contextlib.contextmanager
def running_redis_exporter(redis_url: str) -> Iterator[int]:
    """Its port, while entered."""
    program, port = needed("prometheus-redis-exporter"), free_port()
    command = [program, "-redis.addr", redis_url, "-web.listen-address", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=10)


@contextlib.contextmanager
def serving_file(path: Path) -> Iterator[str]:
    """The address of a recorded metrics page, while entered."""

    class Handler(SimpleHTTPRequestHandler):
        extensions_map = {".prom": "text/plain; version=0.0.4"}  # noqa: RUF012

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(path.parent)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def wait_until(happened: Any, what: str, *, seconds: float = START_SECONDS) -> None:
    """Poll: it is decided by a process of its own."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not happened():
        assert time.monotonic() < deadline, f"{what}: not in time"
        pause.wait(0.1)
