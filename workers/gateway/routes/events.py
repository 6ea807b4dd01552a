"""`/v1/events`: the event log, as it grows."""

from __future__ import annotations

from collections.abc import AsyncGenerator  # noqa: TC003  # FastAPI reads them
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from streamer.client.cursor import Cursor, parse_since
from streamer.client.filter import EventFilter
from workers.gateway.auth import Grant, Scope, holding
from workers.gateway.session import Session

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from workers.gateway.context import Context

# The end of an event stream is the end of its connection.
_SSE_HEADERS = {"Cache-Control": "no-store", "Connection": "close", "X-Accel-Buffering": "no"}


class EventQuery(BaseModel):
    """What `GET /v1/events` may be asked for."""

    model_config = ConfigDict(extra="forbid")

    since: str | None = Field(None, description="A message's id, or a duration such as `10m`.")
    stream: list[str] = Field([], description="Only these streams.")
    type: list[str] = Field([], description="Only these types: globs, `streamer.` may be left out.")


class EventStream(StreamingResponse):
    """A response of server-sent events. Its generator is closed whatever ends the connection."""

    def __init__(self, messages: AsyncGenerator[bytes]) -> None:
        super().__init__(messages, media_type="text/event-stream", headers=_SSE_HEADERS)
        self._messages = messages

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._messages.aclose()


def events_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["events"])

    @router.get("/v1/events", status_code=200, response_class=EventStream)
    async def events(
        query: Annotated[EventQuery, Query()],
        grant: Annotated[Grant, holding(Scope.EVENTS_READ)],
        last_event_id: Annotated[str | None, Header()] = None,
    ) -> EventStream:
        """Events as they come; after a lost connection, from `Last-Event-ID` on.

        Each message's `id` is the place after it. `live`: all that was in the log has been sent.
        `gap`: events are, or may be, missing. `rewind`: Redis has lost its newest events; what was
        sent after this message's id may be sent again, and is told by stream and `sequence`.
        `end`: the token was revoked or has expired.
        """
        since = _since(query, last_event_id)
        session = Session(
            context.feed,
            context.client,
            wanted=EventFilter(frozenset(query.stream), tuple(query.type)),
            metrics=context.metrics,
            heartbeat_seconds=context.heartbeat_seconds,
            grant=grant,
        )
        await session.begin(since, is_entry=bool(last_event_id))
        return EventStream(session.messages())

    return router


def _since(query: EventQuery, last_event_id: str | None) -> Cursor | float | None:
    """Where to begin: after an entry, so many seconds ago, or now."""
    if last_event_id:
        return Cursor.parse(last_event_id)
    return None if query.since is None else parse_since(query.since)
