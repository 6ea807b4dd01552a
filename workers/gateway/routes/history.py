"""`/v1/events/history`: the past of the event log, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import Field

from streamer.client.cursor import Cursor, parse_since
from streamer.client.gap import GapReason
from streamer.client.log import EventLog
from streamer.core.event_schema import ANY_EVENT
from workers.gateway.auth import Scope, require
from workers.gateway.history import read_page
from workers.gateway.message import gap_data
from workers.gateway.routes.query import MAX_CURSOR_CHARACTERS, EventSelection

if TYPE_CHECKING:
    from workers.gateway.context import Context

MAX_LIMIT = 1_000

_CURSOR_OR_NULL = {"type": ["string", "null"]}
_PAGE = {
    "schema": {
        "type": "object",
        "properties": {
            "events": {
                "type": "array",
                "maxItems": MAX_LIMIT,
                "items": {"$ref": f"#/components/schemas/{ANY_EVENT}"},
            },
            "next": _CURSOR_OR_NULL,
            "gap": {
                "type": ["object", "null"],
                "properties": {
                    "reason": {"enum": [reason.value for reason in GapReason]},
                    "after": {"type": "string"},
                    "oldest": _CURSOR_OR_NULL,
                },
                "required": ["reason", "after", "oldest"],
            },
        },
        "required": ["events", "next", "gap"],
    }
}


class HistoryQuery(EventSelection):
    """What may be asked for of the past."""

    since: str | None = Field(
        None,
        max_length=MAX_CURSOR_CHARACTERS,
        description="Begin after this message's id, or so long ago: `10m`. Without it, with the "
        "oldest event kept.",
    )
    until: str | None = Field(
        None,
        max_length=MAX_CURSOR_CHARACTERS,
        description="End with this message's id, or so long ago: `5m`. Without it, with now.",
    )
    limit: int = Field(100, ge=1, le=MAX_LIMIT, description="Most events of one page.")
    cursor: str | None = Field(
        None,
        max_length=MAX_CURSOR_CHARACTERS,
        description="`next` of the page before. It takes the place of `since`.",
    )


def history_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["events"])

    @router.get(
        "/v1/events/history",
        dependencies=[require(Scope.EVENTS_READ)],
        responses={200: {"description": "A page.", "content": {"application/json": _PAGE}}},
    )
    def history(query: Annotated[HistoryQuery, Query()]) -> Response:
        """The past, oldest first, page by page.

        `next` is the `cursor` of the next page, null at the end. A page may have fewer events than
        `limit`, and even none, before the end: one request looks at 20,000 entries at most. `gap`
        is null, or says that events after `since` or `cursor` are no longer kept.
        """
        log = EventLog(context.client)
        start = query.since if query.cursor is None else query.cursor
        page = read_page(
            log,
            after=_place(start, is_cursor=query.cursor is not None),
            until=None if query.until is None else parse_since(query.until, of="until"),
            wanted=query.filter(),
            limit=query.limit,
            is_entry=query.cursor is not None,
        )
        gap = gap_data(page.gaps[0], log.num_partitions) if page.gaps else None
        body = {
            "events": [msgspec.Raw(event.json) for event in page.events],
            "next": None if page.next is None else str(page.next),
            "gap": gap,
        }
        headers = {"Cache-Control": "no-store"}
        return Response(msgspec.json.encode(body), media_type="application/json", headers=headers)

    return router


def _place(text: str | None, *, is_cursor: bool) -> Cursor | float | None:
    if text is None:
        return None
    return Cursor.parse(text) if is_cursor else parse_since(text)
