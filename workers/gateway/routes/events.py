"""`/v1/events`: the event log, as it grows."""

from __future__ import annotations

from collections.abc import AsyncGenerator  # noqa: TC003  # FastAPI reads them
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse

from workers.gateway.auth import Grant, Scope, holding
from workers.gateway.message import server_sent
from workers.gateway.routes.query import MAX_CURSOR_CHARACTERS, EventQuery, open_session

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from workers.gateway.context import Context

# The end of an event stream is the end of its connection.
_SSE_HEADERS = {"Cache-Control": "no-store", "Connection": "close", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """A response of server-sent events. Its generator is closed whatever ends the connection."""

    media_type = "text/event-stream"

    def __init__(self, messages: AsyncGenerator[bytes]) -> None:
        super().__init__(messages, media_type=self.media_type, headers=_SSE_HEADERS)
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
        last_event_id: Annotated[str | None, Header(max_length=MAX_CURSOR_CHARACTERS)] = None,
    ) -> EventStream:
        """Events as they come; after a lost connection, from `Last-Event-ID` on.

        Each message's `id` is the place after it, and its `event` the CloudEvents type, or one of
        these: `open`, the newest event of each open segment, sent first to who has no id and asks
        for no past. `live`, all that was in the log has been sent. `gap`, events are, or may be,
        missing. `rewind`, Redis has lost its newest events; what was sent after this message's id
        may be sent again, and is told by stream and `sequence`. `overflow`, the client was too
        slow: more than 1000 events waited for it. The connection ends, and it may resume.
        `end`, the token was revoked or has expired.
        """
        session = await open_session(
            context, query, last_event_id, grant=grant, wire=server_sent, transport="sse"
        )
        return EventStream(session.messages())

    return router
