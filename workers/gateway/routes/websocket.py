"""`/v1/events/ws`: the same events, over a WebSocket."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, WebSocket, WebSocketDisconnect

from workers.gateway.auth import Grant, Scope, holding
from workers.gateway.message import text_frames
from workers.gateway.routes.query import MAX_CURSOR_CHARACTERS, EventQuery, open_session
from workers.gateway.session import End

if TYPE_CHECKING:
    from workers.gateway.context import Context
    from workers.gateway.session import Session

# RFC 6455, section 7.4.1, and the registry of close codes: 1012 Service Restart, 1013 Try Again.
_CLOSING = {
    End.OVERFLOW: (1013, "too slow; connect again to resume"),
    End.STOPPED: (1012, "the gateway stops; connect again to resume"),
    End.REFUSED: (1008, "the token is no longer good"),
    End.AWAY: (1013, "Redis does not answer; connect again to resume"),
}


def websocket_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["events"])

    @router.websocket("/v1/events/ws")
    async def events(
        websocket: WebSocket,
        query: Annotated[EventQuery, Query()],
        grant: Annotated[Grant, holding(Scope.EVENTS_READ)],
        last_event_id: Annotated[str | None, Header(max_length=MAX_CURSOR_CHARACTERS)] = None,
    ) -> None:
        """Text frames of JSON: `id`, `event`, `data`, as in `GET /v1/events`.

        What the client sends is not read. Close codes: 1012 the gateway stops, 1013 too slow, or
        Redis is away; each time it may resume with `last_event_id`.
        """
        session = await open_session(
            context, query, last_event_id, grant=grant, wire=text_frames, transport="websocket"
        )
        await websocket.accept()
        await _serve(websocket, session)

    return router


async def _serve(websocket: WebSocket, session: Session[tuple[str, ...]]) -> None:
    sending = asyncio.create_task(_send(websocket, session))
    leaving = asyncio.create_task(_until_left(websocket))
    try:
        await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (sending, leaving):
            task.cancel()
        ends = await asyncio.gather(sending, leaving, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _send(websocket: WebSocket, session: Session[tuple[str, ...]]) -> None:
    messages = session.messages()
    try:
        async for chunk in messages:
            for frame in chunk:
                await websocket.send_text(frame)
        code, reason = _CLOSING[session.end]
        await websocket.close(code, reason)
    except WebSocketDisconnect:
        return
    finally:
        await messages.aclose()


async def _until_left(websocket: WebSocket) -> None:
    while (await websocket.receive())["type"] != "websocket.disconnect":
        pass
