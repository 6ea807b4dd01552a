"""One entry of the desired sources."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from streamer.core.errors import TransportError
from streamer.transport.connection import redis_errors
from streamer.transport.registry import StreamEntry

if TYPE_CHECKING:
    from workers.gateway.context import Context


class Source(msgspec.Struct):
    """What of a `SourceSpec` may be shown. Reading it must not load the video libraries."""

    url: str
    options: dict[str, str] = {}


async def source_of(context: Context, stream_id: str) -> Source | None:
    """A stream's source, None if there is no such stream.

    Raises:
        TransportError: Redis is away, or the entry is not one of ours.
    """
    raw = await asyncio.to_thread(_read, context, stream_id)
    if raw is None:
        return None
    try:
        entry = msgspec.json.decode(raw, type=StreamEntry)
        return None if entry.removed else msgspec.json.decode(entry.source, type=Source)
    except msgspec.MsgspecError as error:
        raise TransportError(f"streams: {stream_id}: unreadable entry ({error})") from error


def _read(context: Context, stream_id: str) -> Any:
    with redis_errors("read stream"):
        return context.client.hget(context.keys.streams, stream_id)
