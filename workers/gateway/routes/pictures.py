"""`/v1/streams/{id}/preview…` and `…/snapshots/…`: pictures for people."""

from __future__ import annotations

from collections.abc import AsyncGenerator  # noqa: TC003  # FastAPI reads them
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from streamer.transport.pictures import Picture, PictureStore
from streamer.transport.registry import StreamRegistry
from workers.gateway.auth import Grant, Scope, holding, require
from workers.gateway.previews import MAX_FPS, MIN_FPS
from workers.gateway.problem import no_such_stream

if TYPE_CHECKING:
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from workers.gateway.context import Context

FIRST_PICTURE_SECONDS = 3.0
"""So long a stream that nobody has watched has for its first preview."""

BOUNDARY = "frame"

_ENTRY_PART = Path(ge=0, lt=2**63)
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}}},
    404: {
        "description": "No such stream, or no picture of it.",
        "content": {"application/problem+json": {}},
    },
}
_MJPEG = {**_JPEG, 200: {"content": {"multipart/x-mixed-replace": {}}}}
_SNAPSHOT = {**_JPEG, 304: {"description": "The client has it."}}


class PictureStream(StreamingResponse):
    """Pictures one after the other. Its generator is closed whatever ends the connection."""

    def __init__(self, pictures: AsyncGenerator[Picture]) -> None:
        super().__init__(
            _parts(pictures),
            media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
            headers={"Cache-Control": "no-store", "Connection": "close", "X-Accel-Buffering": "no"},
        )
        self._pictures = pictures

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        """Send them."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pictures.aclose()


def pictures_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["pictures"])
    registry = StreamRegistry(context.client, keys=context.keys)
    store = PictureStore(context.client, keys=context.keys)

    def known(stream_id: str) -> None:
        if registry.get(stream_id) is None:
            raise no_such_stream(stream_id)

    @router.get(
        "/v1/streams/{stream_id}/preview.jpg",
        response_class=Response,
        responses=_JPEG,
        dependencies=[require(Scope.EVENTS_READ)],
    )
    async def preview(stream_id: str) -> Response:
        """The newest picture. The first one may take a moment: they are made while asked for."""
        await run_in_threadpool(known, stream_id)
        newest = context.previews.newest
        picture = await newest(stream_id, wait_seconds=FIRST_PICTURE_SECONDS)
        if picture is None:
            raise HTTPException(404, f"{stream_id}: it gives no pictures now; see its state")
        return Response(
            picture.jpeg,
            media_type="image/jpeg",
            headers={**_told(picture), "Cache-Control": "no-store"},
        )

    @router.get(
        "/v1/streams/{stream_id}/preview.mjpeg",
        status_code=200,
        response_class=PictureStream,
        responses=_MJPEG,
    )
    async def previews(
        stream_id: str,
        grant: Annotated[Grant, holding(Scope.EVENTS_READ)],
        fps: Annotated[float, Query(ge=MIN_FPS, le=MAX_FPS)] = 2.0,
    ) -> PictureStream:
        """Pictures for as long as the client stays, or until the stream is removed."""
        await run_in_threadpool(known, stream_id)
        return PictureStream(context.previews.pictures(stream_id, fps=fps, grant=grant))

    @router.get(
        "/v1/streams/{stream_id}/snapshots/{epoch}-{seq}.jpg",
        response_class=Response,
        responses=_SNAPSHOT,
        dependencies=[require(Scope.EVENTS_READ)],
    )
    def snapshot(
        stream_id: str,
        epoch: Annotated[int, _ENTRY_PART],
        seq: Annotated[int, _ENTRY_PART],
        if_none_match: Annotated[str | None, Header()] = None,
    ) -> Response:
        """The frame that decided an event, as the model got it, while it is kept."""
        known(stream_id)
        picture = store.snapshot(stream_id, epoch=epoch, seq=seq)
        if picture is None:
            raise HTTPException(404, f"{stream_id}: no picture of frame {epoch}-{seq} is kept")
        tag = f'"{epoch}-{seq}-{picture.captured_at_ns}"'
        headers = {**_told(picture), "ETag": tag, "Cache-Control": "private, no-cache"}
        if if_none_match == tag:
            return Response(status_code=304, headers=headers)
        return Response(picture.jpeg, media_type="image/jpeg", headers=headers)

    return router


async def _parts(pictures: AsyncGenerator[Picture]) -> AsyncGenerator[bytes]:
    boundary = f"--{BOUNDARY}\r\n".encode()
    yield boundary
    async for picture in pictures:
        told = "".join(f"{name}: {value}\r\n" for name, value in _told(picture).items())
        head = f"Content-Type: image/jpeg\r\nContent-Length: {len(picture.jpeg)}\r\n{told}\r\n"
        # With the next one's boundary: browsers show a picture when they have seen its end.
        yield head.encode() + picture.jpeg + b"\r\n" + boundary


def _told(picture: Picture) -> dict[str, str]:
    return {
        "X-Streamer-Epoch": str(picture.epoch),
        "X-Streamer-Seq": str(picture.seq),
        "X-Streamer-Captured-Ns": str(picture.captured_at_ns),
    }
