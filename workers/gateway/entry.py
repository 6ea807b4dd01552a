"""One entry of the desired sources."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import TransportError
from streamer.transport.registry import StreamRegistry

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
    registry = StreamRegistry(context.client, keys=context.keys)
    entry = await asyncio.to_thread(registry.get, stream_id)
    try:
        return None if entry is None else msgspec.json.decode(entry.source, type=Source)
    except msgspec.MsgspecError as error:
        raise TransportError(f"streams: {stream_id}: unreadable source ({error})") from error
