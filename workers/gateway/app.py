"""The HTTP API."""

from __future__ import annotations

from collections.abc import AsyncGenerator  # noqa: TC003  # FastAPI reads them
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from fastapi import FastAPI, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from streamer import __version__
from streamer.client.cursor import Cursor, parse_since
from streamer.client.filter import EventFilter
from streamer.core.errors import TransportError
from streamer.sources.credentials import redact
from streamer.transport.connection import redis_errors
from streamer.transport.keys import Keys
from streamer.transport.registry import StreamEntry
from workers.gateway.problem import answer_with_problems
from workers.gateway.session import Session

if TYPE_CHECKING:
    import redis
    from starlette.types import Receive, Scope, Send

    from workers.gateway.feed import Feed
    from workers.gateway.metrics import GatewayMetrics

HEARTBEAT_SECONDS = 15.0
# The end of an event stream is the end of its connection.
_SSE_HEADERS = {"Cache-Control": "no-store", "Connection": "close", "X-Accel-Buffering": "no"}


class _Source(msgspec.Struct):
    """What of a `SourceSpec` may be shown. Reading it must not load the video libraries."""

    url: str
    options: dict[str, str] = {}


class EventQuery(BaseModel):
    """What `GET /v1/events` may be asked for."""

    model_config = ConfigDict(extra="forbid")

    since: str | None = Field(None, description="A message's id, or a duration such as `10m`.")
    stream: list[str] = Field([], description="Only these streams.")
    type: list[str] = Field([], description="Only these types: globs, `streamer.` may be left out.")


class StreamInfo(BaseModel):
    """A desired source, without credentials."""

    id: str
    url: str
    options: dict[str, str]


class StreamList(BaseModel):
    """All desired sources."""

    streams: list[StreamInfo]


class HealthInfo(BaseModel):
    """How the gateway is."""

    status: str
    version: str
    redis: bool
    clients: int
    cursor: str


class EventStream(StreamingResponse):
    """A response of server-sent events. Its generator is closed whatever ends the connection."""

    def __init__(self, messages: AsyncGenerator[bytes]) -> None:
        super().__init__(messages, media_type="text/event-stream", headers=_SSE_HEADERS)
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._messages.aclose()


def build_app(
    feed: Feed,
    client: redis.Redis,
    *,
    metrics: GatewayMetrics,
    heartbeat_seconds: float = HEARTBEAT_SECONDS,
) -> FastAPI:
    """The app.

    Args:
        feed: The shared reader, started.
        client: A connection, for many threads.
        metrics: Counts.
        heartbeat_seconds: Longest silence of an event stream.
    """
    app = FastAPI(
        title="streamer",
        version=__version__,
        docs_url=None,  # they would load scripts from the network
        redoc_url=None,
    )
    answer_with_problems(app)

    @app.get("/v1/events", response_class=EventStream)
    async def events(
        query: Annotated[EventQuery, Query()],
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventStream:
        """Events as they come; after a lost connection, from `Last-Event-ID` on.

        Each message's `id` is the place after it. `live`: all that was in the log has been sent.
        `gap`: events are, or may be, missing. `rewind`: Redis has lost its newest events; what was
        sent after this message's id may be sent again, and is told by stream and `sequence`.
        """
        since = _since(query, last_event_id)
        wanted = EventFilter(frozenset(query.stream), tuple(query.type))
        session = Session(
            feed, client, wanted=wanted, metrics=metrics, heartbeat_seconds=heartbeat_seconds
        )
        await session.begin(since, is_entry=bool(last_event_id))
        return EventStream(session.messages())

    @app.get("/v1/streams")
    def streams() -> StreamList:
        """The desired sources."""
        return _stream_list(client)

    @app.get("/v1/health")
    async def health() -> HealthInfo:
        """How the gateway is."""
        return HealthInfo(
            status="ok" if feed.connected else "degraded",
            version=__version__,
            redis=feed.connected,
            clients=feed.num_subscribers,
            cursor=str(feed.cursor),
        )

    return app


def _since(query: EventQuery, last_event_id: str | None) -> Cursor | float | None:
    """Where to begin: after an entry, so many seconds ago, or now."""
    if last_event_id:
        return Cursor.parse(last_event_id)
    return None if query.since is None else parse_since(query.since)


def _stream_list(client: redis.Redis) -> StreamList:
    with redis_errors("read streams"):
        raw: Any = client.hgetall(Keys().streams)
    infos = [_stream_info(stream_id.decode(), value) for stream_id, value in raw.items()]
    return StreamList(streams=sorted(infos, key=lambda info: info.id))


def _stream_info(stream_id: str, value: bytes) -> StreamInfo:
    try:
        entry = msgspec.json.decode(value, type=StreamEntry)
        source = msgspec.json.decode(entry.source, type=_Source)
    except msgspec.MsgspecError as error:
        raise TransportError(f"streams: {stream_id}: unreadable entry ({error})") from error
    options = {key: redact(option) for key, option in source.options.items()}
    return StreamInfo(id=stream_id, url=redact(source.url), options=options)
