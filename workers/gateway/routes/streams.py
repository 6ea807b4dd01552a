"""`/v1/streams`: what is to be watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter
from pydantic import BaseModel

from streamer.core.errors import TransportError
from streamer.sources.credentials import redact
from streamer.transport.connection import redis_errors
from streamer.transport.registry import StreamEntry
from workers.gateway.auth import Scope, require

if TYPE_CHECKING:
    from workers.gateway.context import Context


class _Source(msgspec.Struct):
    """What of a `SourceSpec` may be shown. Reading it must not load the video libraries."""

    url: str
    options: dict[str, str] = {}


class StreamInfo(BaseModel):
    """A desired source, without credentials."""

    id: str
    url: str
    options: dict[str, str]


class StreamList(BaseModel):
    """All desired sources."""

    streams: list[StreamInfo]


def streams_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["streams"])

    @router.get("/v1/streams", dependencies=[require(Scope.EVENTS_READ)])
    def streams() -> StreamList:
        """The desired sources."""
        return _stream_list(context)

    return router


def _stream_list(context: Context) -> StreamList:
    with redis_errors("read streams"):
        raw: Any = context.client.hgetall(context.keys.streams)
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
