"""`/v1/streams`: what is to be watched."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from streamer.client.live import Live
from streamer.core.errors import ConfigError
from streamer.sources.credentials import redact
from streamer.sources.guard import check_source
from streamer.transport.connection import redis_errors
from streamer.transport.registry import StreamRegistry
from workers.gateway.auth import Scope, require
from workers.gateway.entry import Source
from workers.gateway.prober import Prober
from workers.gateway.problem import no_such_stream
from workers.gateway.source import NewStream, SourceFields, StreamChange, admit, read_source

if TYPE_CHECKING:
    from collections.abc import Collection

    from streamer.sources.spec import SourceSpec
    from streamer.transport.registry import StreamEntry
    from workers.gateway.context import Context

MAX_NAMES_TRIED = 20

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"description": said, "content": {"application/problem+json": {}}}
    for status, said in (
        (400, "The source can't be, or is refused."),
        (404, "No such stream."),
        (409, "The name is taken."),
        (429, "Too many probes at once."),
        (503, "Redis is away."),
    )
}


class StreamInfo(BaseModel):
    """A desired source, without credentials."""

    id: str
    url: str
    options: dict[str, str]
    paused: bool
    slot: int


class WatchedStream(StreamInfo):
    """A desired source, and what it is doing."""

    live: Live


class StreamList(BaseModel):
    """All desired sources, and what latencies are held against."""

    streams: list[WatchedStream]
    latency_budget_seconds: float


class ProbeInfo(BaseModel):
    """What a source gives."""

    source: str
    codec: str
    width: int
    height: int
    fps: float
    longest_pause_seconds: float
    first_frame_seconds: float
    frames: int
    live: bool
    clock: str


def streams_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["streams"])
    registry = StreamRegistry(context.client, keys=context.keys)
    prober = Prober()

    @router.get("/v1/streams", dependencies=[require(Scope.EVENTS_READ)])
    def streams() -> StreamList:
        """The desired sources, and what each is doing."""
        return _stream_list(context, registry)

    @router.get(
        "/v1/streams/{stream_id}", responses=_PROBLEMS, dependencies=[require(Scope.EVENTS_READ)]
    )
    def stream(stream_id: str) -> WatchedStream:
        """One of them."""
        streams = _stream_list(context, registry).streams
        found = next((info for info in streams if info.id == stream_id), None)
        if found is None:
            raise no_such_stream(stream_id)
        return found

    @router.post(
        "/v1/streams",
        status_code=201,
        responses=_PROBLEMS,
        dependencies=[require(Scope.STREAMS_WRITE)],
    )
    def add(new: NewStream, response: Response) -> StreamInfo:
        """Watch another stream. Some ingest worker begins within two seconds."""
        stream_id, entry = _add(context, registry, new)
        response.headers["Location"] = f"/v1/streams/{stream_id}"
        return _stream_info(stream_id, entry)

    @router.post(
        "/v1/streams/probe", responses=_PROBLEMS, dependencies=[require(Scope.STREAMS_WRITE)]
    )
    async def probe(asked: SourceFields) -> ProbeInfo:
        """Open a source for a moment, without watching it."""
        # In a thread: reading a synthetic source makes it, and names may have to be looked up.
        spec = await run_in_threadpool(_admitted, context, asked, stream_id=None)
        return ProbeInfo.model_validate(await prober.probe(spec))

    @router.patch(
        "/v1/streams/{stream_id}", responses=_PROBLEMS, dependencies=[require(Scope.STREAMS_WRITE)]
    )
    def update(stream_id: str, change: StreamChange) -> StreamInfo:
        """Read a stream from another source, pause or resume it."""
        _found(stream_id, registry.get(stream_id))
        source = None
        if change.source is not None:
            asked = SourceFields(
                source=change.source, options=change.options, credentials=change.credentials
            )
            source = msgspec.json.encode(_admitted(context, asked, stream_id=stream_id))
        entry = registry.update(stream_id, source=source, paused=change.paused)
        return _stream_info(stream_id, _found(stream_id, entry))

    _add_controls(router, registry)
    return router


def _add_controls(router: APIRouter, registry: StreamRegistry) -> None:
    """Routes about a stream that change its source in no way."""

    @router.post(
        "/v1/streams/{stream_id}/pause",
        responses=_PROBLEMS,
        dependencies=[require(Scope.STREAMS_WRITE)],
    )
    def pause(stream_id: str) -> StreamInfo:
        """Stop reading a stream, until it is resumed. What is open in it ends."""
        return _stream_info(stream_id, _found(stream_id, registry.update(stream_id, paused=True)))

    @router.post(
        "/v1/streams/{stream_id}/resume",
        responses=_PROBLEMS,
        dependencies=[require(Scope.STREAMS_WRITE)],
    )
    def resume(stream_id: str) -> StreamInfo:
        """Read a paused stream again. A file begins anew."""
        return _stream_info(stream_id, _found(stream_id, registry.update(stream_id, paused=False)))

    @router.delete(
        "/v1/streams/{stream_id}",
        status_code=204,
        response_class=Response,  # no body, so no type of one
        responses=_PROBLEMS,
        dependencies=[require(Scope.STREAMS_WRITE)],
    )
    def remove(stream_id: str) -> None:
        """Watch a stream no longer. What is open in it ends."""
        if not registry.remove(stream_id):
            raise no_such_stream(stream_id)


def _add(context: Context, registry: StreamRegistry, new: NewStream) -> tuple[str, StreamEntry]:
    with redis_errors("look for a run"):
        # What is added while a `streamer run` lives ends with it.
        run = bool(context.client.exists(context.keys.run))
    for _ in range(MAX_NAMES_TRIED):
        taken = registry.read()[0].keys()
        spec = _admitted(context, new, stream_id=new.id, taken=taken)
        entry = registry.add(spec.stream_id, msgspec.json.encode(spec), run=run)
        if entry is not None:
            return spec.stream_id, entry
        if spec.stream_id in taken:  # a name that was given, not one of those derived
            break
    raise HTTPException(
        409, f"{spec.stream_id}: expected a name that is free, found it taken; give another id"
    )


def _admitted(
    context: Context, asked: SourceFields, *, stream_id: str | None, taken: Collection[str] = ()
) -> SourceSpec:
    spec = read_source(asked, stream_id=stream_id, taken=taken)
    admitted = admit(spec, credentials_directory=context.credentials_directory)
    return check_source(admitted, context.policy)


def _stream_list(context: Context, registry: StreamRegistry) -> StreamList:
    infos = []
    for stream_id, entry in sorted(registry.read()[0].items()):
        if not entry.removed:
            with contextlib.suppress(ConfigError):  # another program's: no worker reads it either
                infos.append(_stream_info(stream_id, entry))
    live = context.live.look([info.id for info in infos], context.board.timelines)
    return StreamList(
        streams=[WatchedStream(**info.model_dump(), live=live[info.id]) for info in infos],
        latency_budget_seconds=context.latency_budget_seconds,
    )


def _found(stream_id: str, entry: StreamEntry | None) -> StreamEntry:
    if entry is None:
        raise no_such_stream(stream_id)
    return entry


def _stream_info(stream_id: str, entry: StreamEntry) -> StreamInfo:
    try:
        source = msgspec.json.decode(entry.source, type=Source)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{stream_id}: expected a source of ours, found {error}") from error
    return StreamInfo(
        id=stream_id,
        url=redact(source.url),
        options={key: redact(option) for key, option in source.options.items()},
        paused=entry.paused,
        slot=entry.slot,
    )
