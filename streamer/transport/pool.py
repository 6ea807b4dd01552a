"""Connection pools that tell when a connection was lost.

redis-py's own replace one that broke while it lay idle, without a word. Who does not hear of it
does not ask what else was lost: a server that came back without its newest writes, or another one
that was promoted.
"""

from __future__ import annotations

from typing import Any

import redis
from redis.sentinel import SentinelConnectionPool


class _NoticesLoss:
    """Mixed into a connection: remembers that it was found broken when it was to be used."""

    lost = False

    def can_read(self, timeout: float = 0) -> Any:
        """Whether there is something to read, which of an idle connection is its end."""
        try:
            found = super().can_read(timeout)  # type: ignore[misc]
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            self.lost = True
            raise
        self.lost = self.lost or bool(found)
        return found


class _TellsLoss:
    """Mixed into a pool: the first who takes a replaced connection gets a ConnectionError."""

    connection_class: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base: type = self.connection_class
        self.connection_class = type(f"{base.__name__}ThatNotices", (_NoticesLoss, base), {})

    def get_connection(self, command_name: str | None = None, *_: Any, **__: Any) -> Any:
        """A connection that works.

        Raises:
            redis.ConnectionError: There is none, or the one there was broke.
        """
        connection = super().get_connection()  # type: ignore[misc]
        if connection.lost:
            connection.lost = False
            self.release(connection)  # type: ignore[attr-defined]
            raise redis.ConnectionError("Connection closed by server.")
        return connection


class Pool(_TellsLoss, redis.ConnectionPool):
    """Of connections to one server."""


class SentinelPool(_TellsLoss, SentinelConnectionPool):
    """Of connections to the primary of a service."""
