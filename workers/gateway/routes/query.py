"""What may be asked for of events, in every way to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from streamer.client.cursor import Cursor, parse_since
from streamer.client.filter import EventFilter
from workers.gateway.session import Session

if TYPE_CHECKING:
    from workers.gateway.auth import Grant
    from workers.gateway.context import Context
    from workers.gateway.message import Chunk, Wire

MAX_CURSOR_CHARACTERS = 65_536
"""A cursor names each partition: about 22 characters of each."""

Glob = Annotated[str, Field(min_length=1, max_length=256)]


class EventSelection(BaseModel):
    """Which events."""

    model_config = ConfigDict(extra="forbid")

    stream: list[Glob] = Field(
        [], max_length=64, description="Only these streams: globs, such as `cam*`."
    )
    type: list[Glob] = Field(
        [],
        max_length=64,
        description="Only these types: globs, such as `action.*`; `streamer.` may be left out.",
    )
    min_confidence: float = Field(
        0.0,
        ge=0.0,
        le=1.0,
        description="Only what is so sure. Ends, retractions and events without a confidence "
        "always pass: who has seen a start must see its end.",
    )

    def filter(self) -> EventFilter:
        """As the log is read."""
        return EventFilter(tuple(self.stream), tuple(self.type), self.min_confidence)


class EventQuery(EventSelection):
    """What a subscriber may ask for."""

    since: str | None = Field(
        None,
        max_length=MAX_CURSOR_CHARACTERS,
        description="Begin after this message's id, or so long ago: `10m`. Without it, with now.",
    )
    last_event_id: str | None = Field(
        None,
        max_length=MAX_CURSOR_CHARACTERS,
        description="As the header `Last-Event-ID`, for clients that can't send it. "
        "The header counts if there are both.",
    )


async def open_session(
    context: Context,
    query: EventQuery,
    last_event_id: str | None,
    *,
    grant: Grant,
    wire: Wire[Chunk],
    transport: str,
) -> Session[Chunk]:
    """A session that knows where it begins.

    Raises:
        ConfigError: A cursor or duration is none.
        TransportError: Redis is away.
    """
    session = Session(context, wanted=query.filter(), grant=grant, wire=wire, transport=transport)
    entry = last_event_id or query.last_event_id
    if entry:
        named = "Last-Event-ID" if last_event_id else "last_event_id"
        await session.begin(Cursor.parse(entry, of=named), is_entry=True)
    else:
        await session.begin(None if query.since is None else parse_since(query.since))
    return session
