"""A run with a bit of everything, watched by a real Prometheus."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as connect_websocket

from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.keys import Keys
from streamer.transport.model_registry import ModelRegistry, WantedModel
from tests.bundles import copy_bundle
from tests.cameras import rtsp_servers
from tests.dashboards import every_query
from tests.faults.poison import poison
from tests.prometheus_server import (
    Prometheus,
    running_prometheus,
    running_redis_exporter,
    serving_file,
    wait_until,
)
from tests.promql import selectors
from tests.videos import make_clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CELLS = [f"cell-{seed}=synthetic:workcell?seed={seed}&fps=10" for seed in (3, 4, 5)]
GPU = Path(__file__).with_name("gpu.prom")

RARE = {
    'streamer_features_resent_total{role="encoder", instance=~".*"}': "Redis has to lose writes",
    'streamer_refused_total{role="encoder", instance=~".*"}': "the log has to refuse a write",
    'streamer_refused_total{role="temporal"}': "two workers have to contend for a stream",
}
"""What this run has no series of, and what it would take. The names are checked elsewhere."""

SETTLED_SECONDS = 30.0


def filled_in(expr: str) -> str:
    """As Grafana would ask it, of everything there is."""
    for variable in ("$stream", "$instance", "$role"):
        expr = expr.replace(variable, ".*")
    return expr.replace("$__rate_interval", "1m").replace("offset 1m", "offset 5s")


@pytest.fixture(scope="module")
def watched() -> Iterator[Prometheus]:
    """A Prometheus that has seen a run in which most things have happened."""
    with contextlib.ExitStack() as stack:
        # A short path: that of a socket has at most 107 bytes.
        folder = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="streamer-test-", dir="/tmp"))
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_RUNTIME_DIR", str(folder))
            server = stack.enter_context(EmbeddedValkey())
        gpu = stack.enter_context(serving_file(GPU))
        exporter = stack.enter_context(running_redis_exporter(server.url))
        static = {"metrics_path": f"/{GPU.name}", "static_configs": [{"targets": [gpu]}]}
        pattern = str(folder / "streamer" / "targets-*.json")
        prometheus = stack.enter_context(
            running_prometheus(
                folder,
                {
                    "streamer": {
                        "file_sd_configs": [{"files": [pattern], "refresh_interval": "1s"}]
                    },
                    "redis": {"static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]},
                    "gpu": {
                        **static,
                        "relabel_configs": [{"target_label": "role", "replacement": "encoder"}],
                    },
                },
            )
        )
        cameras = stack.enter_context(rtsp_servers())(
            {
                "long": make_clip(folder / "long.mp4", frames=1000),
                "short": make_clip(folder / "short.mp4", frames=50),
            }
        )
        run = _Run(
            folder, server.url, [*CELLS, *(f"{n}={cameras.url(n)}" for n in ("long", "short"))]
        )
        stack.callback(run.stop)
        run.begin()
        run.provoke(prometheus)
        yield prometheus


class _Run:
    """`streamer run` and what is done to it."""

    def __init__(self, folder: Path, redis_url: str, sources: list[str]) -> None:
        self._folder = folder
        self._redis_url = redis_url
        command = [sys.executable, "-P", "-m", "streamer.cli.main", "run", *sources]
        with (folder / "run.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--json", "--encoders", "1", "--redis", redis_url],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env={
                    **os.environ,
                    "XDG_RUNTIME_DIR": str(folder),
                    "TMPDIR": str(folder),
                    "STREAMER_INGEST__FRAME_SLOTS": "2",
                },
            )
        self._clients = contextlib.ExitStack()
        self._told: dict[str, str] = {}

    def begin(self) -> None:
        """Wait until it serves, and have clients of both kinds, one of which goes at once."""
        wait_until(self._serves, f"the run: {self._folder / 'run.log'}")
        headers = {"Authorization": f"Bearer {self._told['token']}"}
        url = self._told["url"]
        client = self._clients.enter_context(httpx.Client(base_url=url, headers=headers))
        with client.stream("GET", "/v1/events") as left:
            assert left.status_code == 200
        reading = self._clients.enter_context(client.stream("GET", "/v1/events"))
        socket = self._clients.enter_context(
            connect_websocket(
                f"{url.replace('http', 'ws', 1)}/v1/events/ws", additional_headers=headers
            )
        )
        for items in (reading.iter_raw(), socket):
            thread = threading.Thread(target=_drain, args=(items,), daemon=True)
            thread.start()

    def provoke(self, prometheus: Prometheus) -> None:
        """Frames are dropped, an entry is damaged, a model is replaced; then all settles."""
        (encoder,) = self._pids("workers.encoder")
        os.kill(encoder, signal.SIGSTOP)
        threading.Event().wait(1.0)
        os.kill(encoder, signal.SIGCONT)
        keys = Keys()
        with connect(self._redis_url) as client:
            cells = [name.partition("=")[0] for name in CELLS]
            random = Random(1)
            wait_until(
                lambda: poison(client, cells, keys=keys, random=random, deadly=False), "poison"
            )
            wait_until(
                lambda: prometheus.now("streamer_drift_feature_mahalanobis"),
                "drift",
                seconds=SETTLED_SECONDS,
            )
            other = copy_bundle(self._folder / "other", decoder={"smoothing_seconds": 0.5})
            wanted = WantedModel(model_id=other.model_id, bundle=str(other.path))
            ModelRegistry(client, keys=keys).want(wanted)
        rare = {selector.partition("{")[0] for selector in RARE}
        missing = {s.metric for asked in every_query() for s in selectors(asked.expr)} - rare

        def settled() -> bool:
            there = {name for name in missing if prometheus.now(f"count_over_time({name}[5m]) > 1")}
            missing.difference_update(there)
            return not missing

        with contextlib.suppress(AssertionError):  # each test says what it misses
            wait_until(settled, "all series", seconds=8)

    def stop(self) -> None:
        self._clients.close()
        self._process.terminate()
        self._process.wait(timeout=20)

    def _serves(self) -> bool:
        assert self._process.poll() is None, (self._folder / "run.log").read_text()
        for path in self._folder.glob("streamer/run-*/gateway.json"):
            with contextlib.suppress(json.JSONDecodeError):
                self._told = json.loads(path.read_text())
        return bool(self._told)

    def _pids(self, module: str) -> list[int]:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                command = path.read_bytes().split(b"\0")
                if module.encode() in command and str(self._folder).encode() in b" ".join(command):
                    found.append(int(path.parent.name))
        return found


def _drain(items: Iterable[Any]) -> None:
    with contextlib.suppress(httpx.HTTPError, httpx.StreamError, ConnectionClosed):
        for _ in items:
            pass
