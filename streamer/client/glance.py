"""What all streams are doing now, at a glance: from a gateway, or from Redis itself."""

from __future__ import annotations

import http.client
from typing import Protocol
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from streamer.client.continuity import Continuity
from streamer.client.follower import Follower
from streamer.client.http import problem_of
from streamer.client.live import Live, LiveViews
from streamer.client.log import EventLog, LoggedEvent
from streamer.client.timeline import Timeline
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import decode_event
from streamer.transport.access import ANYBODY, RedisAccess
from streamer.transport.connection import connect_to_read, is_redis_url
from streamer.transport.install import read_install
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamRegistry

PAST_SECONDS = 600.0
TIMEOUT_SECONDS = 5.0
MAX_READS = 1_000
"""Of the past, at the first look: 256 events each."""


class Glance(Protocol):
    """A way to look. Used by one thread."""

    def look(self) -> dict[str, Live]:
        """By stream, what it is doing.

        Raises:
            TransportError: Nobody answers.
            ConfigError: The other side does not accept what was asked.
        """
        ...

    def close(self) -> None:
        """End the connection. Idempotent."""
        ...


class RedisGlance:
    """Folds the event log of the last ten minutes, and reads the stored states.

    Args:
        url: Of the data plane.
        access: User, password and TLS files.
    """

    def __init__(self, url: str, *, access: RedisAccess = ANYBODY) -> None:
        self._client = connect_to_read(url, access=access, of="--redis")
        install = read_install(self._client)
        keys = Keys(1 if install is None else install.partitions)
        self._registry = StreamRegistry(self._client, keys=keys)
        self._views = LiveViews(self._client, keys=keys)
        self._follower = Follower(EventLog(self._client))
        self._continuity = Continuity()
        self._timelines: dict[str, Timeline] = {}
        self._begun = False

    def look(self) -> dict[str, Live]:
        """By stream, what it is doing."""
        if not self._begun:
            self._follower.begin(PAST_SECONDS)
            self._begun = True
        for _ in range(MAX_READS):
            items = self._follower.read(wait_seconds=0.0)
            if not items:
                break
            for item in items:
                if isinstance(item, LoggedEvent):
                    self._take(item)
                else:
                    self._continuity.rewind()
        return self._views.look(sorted(self._registry.entries()), self._timelines)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def _take(self, logged: LoggedEvent) -> None:
        event = decode_event(logged.json)
        new, hole = self._continuity.take(event)
        timeline = self._timelines.setdefault(logged.stream_id, Timeline())
        if hole is not None:
            timeline.close()
        if new:
            timeline.take(event)


class _Stream(BaseModel):
    id: str
    live: Live


class _Streams(BaseModel):
    streams: list[_Stream]


class GatewayGlance:
    """Asks `GET /v1/streams`.

    Args:
        url: `http://HOST:PORT` or `https://…`.
        token: One with the scope `events:read`.
    """

    def __init__(self, url: str, *, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigError("--url: expected http://HOST:PORT without user and password")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)
        self._name = f"gateway {parts.scheme}://{parts.netloc}"
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def look(self) -> dict[str, Live]:
        """By stream, what it is doing."""
        try:
            self._connection.request("GET", "/v1/streams", headers=self._headers)
            response = self._connection.getresponse()
            refusal = "" if response.status == 200 else problem_of(response)
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise TransportError(f"{self._name}: {error or type(error).__name__}") from error
        if response.status != 200:
            why = f"{self._name}: {response.status} {refusal}"
            if response.status in (401, 403):
                raise ConfigError(f"{why}; give --token one with the scope events:read")
            raise TransportError(why)
        try:
            found = _Streams.model_validate_json(body)
        except ValidationError as error:
            raise TransportError(
                f"{self._name}: expected a gateway of streamer there", retryable=False
            ) from error
        return {stream.id: stream.live for stream in found.streams}

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def open_glance(url: str, *, token: str | None = None, access: RedisAccess = ANYBODY) -> Glance:
    """A way to look at a pipeline, by its URL: of Redis, or of a gateway.

    Raises:
        ConfigError: The URL can't be.
        TransportError: Nobody answers.
    """
    if is_redis_url(url):
        return RedisGlance(url, access=access)
    return GatewayGlance(url, token=token)
