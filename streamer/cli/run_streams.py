"""The streams of one `streamer run`, and the lock that makes them its own."""

from __future__ import annotations

import contextlib
import secrets
import time
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import ConfigError, TransportError
from streamer.transport.connection import redis_errors
from streamer.transport.registry import StreamRegistry

if TYPE_CHECKING:
    from collections.abc import Sequence

    import redis

    from streamer.sources.grammar import SourceSpec
    from streamer.transport.keys import Keys
    from streamer.transport.registry import StreamEntry

RUN_LOCK_SECONDS = 10.0
"""After a crash the next run can begin so much later."""


class RunLock:
    """At most one `streamer run` at a time on one Redis: two would take each other's streams."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._key = keys.run
        self._token = secrets.token_hex(8)
        self._renew_at = 0.0

    def acquire(self) -> None:
        """Take it.

        Raises:
            ConfigError: Another run holds it.
        """
        milliseconds = int(RUN_LOCK_SECONDS * 1000)
        with redis_errors("lock"):
            taken = self._client.set(self._key, self._token, nx=True, px=milliseconds)
        if not taken:
            raise ConfigError(
                "--redis: another `streamer run` uses this server; stop it, use another server, "
                f"or wait {RUN_LOCK_SECONDS:.0f} s if it has crashed"
            )
        self._renew_at = time.monotonic() + RUN_LOCK_SECONDS / 3

    def is_due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() > self._renew_at

    def renew(self) -> bool:
        """Keep it. Returns whether the server had forgotten it.

        Raises:
            ConfigError: Another run has it.
        """
        self._renew_at = time.monotonic() + RUN_LOCK_SECONDS / 3
        with redis_errors("lock"):
            holder: Any = self._client.get(self._key)
            if holder not in (None, self._token.encode()):
                raise ConfigError("--redis: another `streamer run` has taken this server over")
            self._client.set(self._key, self._token, px=int(RUN_LOCK_SECONDS * 1000))
        return holder is None

    def release(self) -> None:
        """Let the next one in."""
        with contextlib.suppress(TransportError), redis_errors("unlock"):
            self._client.delete(self._key)


class RunStreams:
    """What a run watches: what it was started with, and what was added while it lives.

    Args:
        client: A connection.
        keys: Key names.
        specs: What it is started with.
    """

    def __init__(self, client: redis.Redis, *, keys: Keys, specs: Sequence[SourceSpec]) -> None:
        self._lock = RunLock(client, keys=keys)
        self._registry = StreamRegistry(client, keys=keys)
        self._specs = specs
        self._seen: dict[str, StreamEntry] = {}
        self._held = False

    def begin(self) -> None:
        """Take the lock; want the streams.

        Raises:
            ConfigError: Another run has the server, or others' streams are there.
        """
        self._lock.acquire()
        self._held = True
        self._forget()  # those of a run that crashed: its lock is ours now
        foreign = sorted(self._registry.entries().keys() - {s.stream_id for s in self._specs})
        if foreign:
            raise ConfigError(
                f"--redis: expected a server without streams, found {', '.join(foreign)}; use "
                "another one, or `streamer worker` to share it"
            )
        for spec in self._specs:
            self._registry.put(spec.stream_id, msgspec.json.encode(spec), run=True)
        self._seen = self._registry.entries()

    def keep(self) -> None:
        """Keep the lock. A server that came back empty has forgotten the streams too."""
        if not self._lock.is_due():
            return
        forgotten = self._lock.renew()
        there = self._registry.entries()
        if forgotten:
            for stream_id in self._seen.keys() - there.keys():
                entry = self._seen[stream_id]
                self._registry.put(stream_id, bytes(entry.source), run=True)
                if entry.paused:
                    self._registry.update(stream_id, paused=True)
        self._seen = self._registry.entries() if forgotten else there

    def end(self) -> None:
        """Forget the streams, whose end the workers have said, and let the next run in."""
        if self._held:
            with contextlib.suppress(TransportError):  # then the next run does it
                self._forget()
            self._lock.release()
            self._held = False

    def _forget(self) -> None:
        for stream_id, entry in self._registry.read()[0].items():
            if entry.run:
                self._registry.forget(stream_id)
