"""A whole pipeline on this machine: embedded server, workers as children, in the right order."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from streamer.core.errors import ConfigError
from streamer.runtime.supervisor import (
    READY_SECONDS,
    Worker,
    child_environment,
    stop_in_order,
)
from streamer.transport.connection import Keys, connect, redis_errors
from streamer.transport.embedded import EmbeddedValkey
from streamer.transport.registry import StreamRegistry
from streamer.transport.shm import sweep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    import redis

    from streamer.core.config import Settings
    from streamer.sources.grammar import SourceSpec

STOP_SECONDS = 4.5
"""For all workers together: Ctrl-C is over within five seconds."""


class LocalPipeline:
    """Runs every role on this machine while entered.

    Args:
        settings: Of all workers; `redis.url` is replaced unless `redis_url` is given.
        specs: What to watch.
        secrets_by_name: Values of the credentials that `specs` refer to, for the ingest worker.
        redis_url: A server of the user's; None starts an embedded one.
        num_encoders: Encoder workers.
        gateway: Whether to serve events over HTTP.
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
    ) -> None:
        self._settings = settings
        self._specs = specs
        self._secrets = secrets_by_name
        self._redis_url = redis_url
        self._num_encoders = num_encoders
        self._gateway = gateway
        self._stack = contextlib.ExitStack()
        self._groups: list[list[Worker]] = []
        self.client: redis.Redis
        self.redis_url = ""
        self.events_cursor = "0-0"
        """Last entry of the event log before this run."""
        self.server_pid: int | None = None
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
        dead = [worker for worker in self.workers if worker.exit_code is not None]
        for worker in dead:
            worker.restart()
        return [worker.name for worker in dead]

    def _start(self) -> None:
        if self._redis_url is None:
            server = self._stack.enter_context(EmbeddedValkey())
            self.redis_url, self.log_directory = server.url, server.directory
            self.server_pid = server.pid
        else:
            directory = tempfile.TemporaryDirectory(prefix="streamer-")
            self.log_directory = Path(self._stack.enter_context(directory))
            self.redis_url = self._redis_url
        self.client = connect(self.redis_url)
        self._stack.callback(self.client.close)
        self._register()
        with redis_errors("read events"):
            last: Any = self.client.xrevrange(Keys().events(0), count=1)
        if last:
            self.events_cursor = last[0][0].decode()
        self._groups = self._make_workers()
        for worker in self.workers:
            worker.start()
        deadline = time.monotonic() + READY_SECONDS
        for worker in self.workers:
            worker.wait_ready(deadline=deadline)

    def _register(self) -> None:
        registry = StreamRegistry(self.client, keys=Keys(self._settings.redis.partitions))
        ours = {spec.stream_id for spec in self._specs}
        foreign = sorted(registry.entries().keys() - ours)
        if foreign:
            raise ConfigError(
                f"--redis: expected a server without streams, found {', '.join(foreign)}; use "
                "another one, or `streamer worker` to share it"
            )
        for spec in self._specs:
            registry.put(spec.stream_id, msgspec.json.encode(spec))
            self._stack.callback(registry.remove, spec.stream_id)

    def _make_workers(self) -> list[list[Worker]]:
        settings = self._settings.model_dump()
        settings["redis"]["url"] = self.redis_url
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
            groups.append([worker("gateway", "gateway")])
        return groups
