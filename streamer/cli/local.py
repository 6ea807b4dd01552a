"""A whole pipeline on this machine: embedded server, workers as children, in the right order."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from streamer.cli.run_streams import RunStreams
from streamer.cli.targets import TargetsFile
from streamer.client.follower import Follower
from streamer.client.log import EventLog
from streamer.core.errors import TransportError
from streamer.runtime.supervisor import (
    READY_SECONDS,
    Worker,
    WorkerFailed,
    child_environment,
    stop_in_order,
)
from streamer.transport.access import ANYBODY, RedisAccess
from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.gateway_address import GatewayAddress
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.model_registry import ModelRegistry
from streamer.transport.rundir import RunDirectory
from streamer.transport.shm import sweep
from streamer.transport.tokens import RUN_TOKEN_VARIABLE, make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    import redis

    from streamer.core.config import Settings
    from streamer.sources.grammar import SourceSpec

STOP_SECONDS = 4.0
"""For all workers together: Ctrl-C is over within five seconds."""

START_TURN_SECONDS = 0.1


class LocalPipeline:
    """Runs every role on this machine while entered.

    Args:
        settings: Of all workers; `redis.url` is replaced unless `redis_url` is given.
        specs: What to watch.
        secrets_by_name: Values of the credentials that `specs` refer to, for the ingest worker.
        redis_url: A server of the user's; None starts an embedded one.
        num_encoders: Encoder workers.
        gateway: Whether to serve events over HTTP.
        stopping: Whether the user wants to stop: then starting is given up.
    """

    def __init__(
        self,
        settings: Settings,
        specs: Sequence[SourceSpec],
        *,
        secrets_by_name: Mapping[str, str],
        redis_url: str | None,
        num_encoders: int,
        gateway: bool,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._secrets = secrets_by_name
        self._redis_url = redis_url
        self._num_encoders = num_encoders
        self._gateway = gateway
        self._stack = contextlib.ExitStack()
        self._groups: list[list[Worker]] = []
        self._stopping = stopping
        self._server: EmbeddedValkey | None = None
        self._read_logs: dict[str, int] = {}
        self.client: redis.Redis
        self.redis_url = ""
        self._access = ANYBODY
        self.events: Follower
        """The events of this run."""
        self.server_pid: int | None = None
        self._token = make_token()
        self.log_directory = Path()

    @property
    def workers(self) -> list[Worker]:
        """All workers."""
        return [worker for group in self._groups for worker in group]

    @property
    def gateway_port(self) -> int | None:
        """Where events are served."""
        ports = [worker.ready.port for worker in self.workers if worker.ready]
        return next((port for port in ports if port is not None), None)

    @property
    def gateway(self) -> GatewayAddress | None:
        """Where events are served, and with which token."""
        port = self.gateway_port
        if port is None:
            return None
        settings = self._settings.gateway
        # All addresses of this host: any of them will do.
        host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
        host = f"[{host}]" if ":" in host else host
        scheme = "http" if settings.tls_certificate is None else "https"
        return GatewayAddress(url=f"{scheme}://{host}:{port}", token=self._token)

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop_workers()
        self._stack.close()

    def stop_workers(self) -> None:
        """Stop the workers, upstream first, so that nothing in flight is lost. Idempotent."""
        groups, self._groups = self._groups, []
        stop_in_order(groups, seconds=STOP_SECONDS)
        sweep()

    def restart_dead(self) -> list[str]:
        """Start again what has crashed. Returns the names.

        Raises:
            WorkerFailed: It crashes again and again.
        """
        if self._server is not None and not self._server.running:
            raise TransportError("embedded Valkey: it ended; see its log", retryable=False)
        self._streams.keep()
        for worker in self.workers:
            if worker.exit_code is None:
                worker.poll_ready()
        self._targets.update(self.workers)
        dead = [worker for worker in self.workers if worker.exit_code is not None]
        return [worker.name for worker in dead if worker.restart()]

    def new_errors(self) -> list[str]:
        """What workers have logged as errors since the last call."""
        found = []
        for worker in self.workers:
            with worker.log_path.open("rb") as log:
                log.seek(self._read_logs.get(worker.name, 0))
                lines = log.readlines()
                self._read_logs[worker.name] = log.tell()
            for line in lines:
                with contextlib.suppress(msgspec.MsgspecError):  # a line of a library
                    entry = msgspec.json.decode(line, type=dict[str, Any])
                    if entry.get("level") == "error":
                        told = entry.get("detail") or entry.get("error") or entry.get("event")
                        found.append(
                            " ".join(filter(None, (worker.name, entry.get("stream"), told)))
                        )
        return found

    def _start(self) -> None:
        if self._redis_url is None:
            server = self._server = self._stack.enter_context(EmbeddedValkey())
            self.redis_url, self.log_directory = server.url, server.directory
            self.server_pid = server.pid
        else:
            directory = RunDirectory()
            self._stack.callback(directory.close)
            self.redis_url, self.log_directory = self._redis_url, directory.path
            self._access = RedisAccess.of(self._settings.redis)
        self._targets = TargetsFile(self.log_directory)
        self.client = connect(self.redis_url, access=self._access)
        self._stack.callback(self.client.close)
        self._keys = Keys(self._settings.redis.partitions)
        agree(self.client, keys=self._keys)
        self._streams = RunStreams(self.client, keys=self._keys, specs=self._specs)
        self._stack.callback(self._streams.end)
        self._streams.begin()
        ModelRegistry(self.client, keys=self._keys).want(None)  # this run has its own bundle
        self.events = Follower(EventLog(self.client))
        self.events.begin(None)
        self._groups = self._make_workers()
        for worker in self.workers:
            worker.start()
        deadline = time.monotonic() + READY_SECONDS
        for worker in self.workers:
            while not worker.poll_ready(timeout_seconds=START_TURN_SECONDS):
                if self._stopping():
                    return
                self._streams.keep()
                if time.monotonic() > deadline:
                    raise WorkerFailed(f"{worker.name}: not ready in time", exit_code=1)
        self._targets.update(self.workers)
        self._publish_gateway()

    def _publish_gateway(self) -> None:
        """Should it crash, it is to come back where its clients know it. Tell them where."""
        for worker in self.workers:
            if worker.ready is not None and worker.ready.port is not None:
                worker.arguments = [*worker.arguments, "--set", f"gateway.port={worker.ready.port}"]
        if self.gateway is not None:
            path = self.gateway.write(self.log_directory)
            self._stack.callback(path.unlink, missing_ok=True)

    def _make_workers(self) -> list[list[Worker]]:
        settings = self._settings.model_dump()
        settings["redis"] |= {"url": self.redis_url, **asdict(self._access)}
        # All of them on one machine: each finds a port of its own, and stops within its share.
        settings["metrics"] = {"host": "127.0.0.1", "port": 0}
        settings["drain_seconds"] = STOP_SECONDS / 5
        config = self.log_directory / f"settings-{secrets.token_hex(4)}.json"
        # The URL may hold a password.
        descriptor = os.open(config, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(msgspec.json.encode(settings))
        self._stack.callback(config.unlink, missing_ok=True)

        def worker(role: str, name: str, *assignments: str, **extra: str) -> Worker:
            arguments = ["--config", str(config)]
            for assignment in assignments:
                arguments += ["--set", assignment]
            return Worker(
                name=name,
                module=f"workers.{role}",
                arguments=arguments,
                environment={**child_environment(), **extra},
                log_path=self.log_directory / f"{name}.log",
            )

        shards = self._num_encoders
        groups = [
            [worker("ingest", "ingest", **self._secrets)],
            [
                worker("encoder", f"encoder-{i}", f"encoder.shard={i}", f"encoder.shards={shards}")
                for i in range(shards)
            ],
            [worker("temporal", "temporal")],
        ]
        if self._gateway:
            groups.append([worker("gateway", "gateway", **{RUN_TOKEN_VARIABLE: self._token})])
        return groups
