"""Gateways for tests: in this process, and as a process of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
from prometheus_client import CollectorRegistry

from streamer.core.config import GatewaySettings, RedisSettings, Settings
from streamer.runtime.worker import Ready
from streamer.transport.tokens import RUN_TOKEN_VARIABLE
from workers.gateway.metrics import GatewayMetrics
from workers.gateway.server import GatewayService

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


TOKEN = "of-a-test"
"""Of every gateway that tests start, with all rights."""

PATIENCE_SECONDS = 15.0

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@contextlib.contextmanager
def serving_events(
    redis_url: str, *, num_partitions: int = 1, run_token: str | None = TOKEN, **gateway: Any
) -> Iterator[str]:
    """Its URL, while entered.

    Args:
        redis_url: Of the server.
        num_partitions: P.
        run_token: As of a run.
        gateway: Further settings.
    """
    settings = Settings(
        redis=RedisSettings(url=redis_url, partitions=num_partitions),
        gateway=GatewaySettings(**{"port": 0, **gateway}),
    )
    service = GatewayService(settings, GatewayMetrics(CollectorRegistry()), run_token=run_token)
    try:
        service.start()
        scheme = "https" if settings.gateway.tls_certificate else "http"
        yield f"{scheme}://127.0.0.1:{service.port}"
    finally:
        service.drain(deadline_seconds=10.0)
        service.close()


class Gateway:
    """The process, as a supervisor sees it."""

    def __init__(
        self,
        redis_url: str,
        *,
        port: int = 0,
        settings: Sequence[str] = (),
        run_token: str | None = TOKEN,
    ) -> None:
        environment = {} if run_token is None else {RUN_TOKEN_VARIABLE: run_token}
        self._ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "workers.gateway"),
                    *("--set", f"redis.url={redis_url}", "--set", f"gateway.port={port}"),
                    *(part for setting in settings for part in ("--set", setting)),
                    *("--lifeline-fd", str(theirs.fileno())),
                ],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **environment},
                stderr=subprocess.PIPE,
            )
        self._ours.settimeout(PATIENCE_SECONDS)

    def ready(self) -> Ready:
        """What it says on its lifeline; raises ValidationError if it ends without a word."""
        return msgspec.json.decode(self._ours.recv(4096), type=Ready)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it said."""
        _, said = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, said.decode()

    def close(self) -> None:
        self._ours.close()
        self.process.kill()
        self.process.communicate()


def wait_until_read(url: str, entry_id: str) -> None:
    """Until the gateway has read the log up to there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while httpx.get(f"{url}/v1/health", headers=HEADERS).json()["cursor"] != entry_id:
        assert time.monotonic() < deadline, f"the gateway has not read {entry_id}"
        pause.wait(0.02)
