"""Pictures for people, in Redis: bounded, and gone by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from streamer.transport.connection import call, redis_errors, translated

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streamer.transport.keys import Keys

PREVIEW_SECONDS = 3.0
"""A preview is shown for so long, if no newer one comes: longer than the slowest viewer waits."""

WATCHED_SECONDS = 3.0
"""For so long previews are made after somebody last asked for them."""


class Picture(msgspec.Struct, frozen=True, array_like=True):
    """A JPEG of one frame.

    Attributes:
        epoch: Opening of the source.
        seq: Of the analysed frame.
        captured_at_ns: UTC.
        jpeg: Its bytes.
    """

    epoch: int
    seq: int
    captured_at_ns: int
    jpeg: bytes


class PictureStore:
    """Snapshots of frames that decided, and previews while somebody watches."""

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def keep(
        self, stream_id: str, picture: Picture, *, max_pictures: int, max_seconds: float
    ) -> bool:
        """Keep a snapshot; the oldest make room. False if it, or a later one, is there already."""
        frame = f"{picture.epoch}-{picture.seq}"
        key, payload = self._keys.snapshots(stream_id), msgspec.msgpack.encode(picture)
        milliseconds = int(max_seconds * 1000)
        answer = call(
            self._client, "keep_picture", [key], frame, payload, max_pictures, milliseconds
        )
        return bool(answer)

    def snapshot(self, stream_id: str, *, epoch: int, seq: int) -> Picture | None:
        """A snapshot, None if it is not kept."""
        frame = f"{epoch}-{seq}"
        with redis_errors("read picture"):
            rows: Any = self._client.xrange(self._keys.snapshots(stream_id), frame, frame)
        return _picture(rows[0][1].get(b"p")) if rows else None

    def show(self, stream_id: str, picture: Picture) -> None:
        """Put a preview where viewers find it, for a moment."""
        payload, milliseconds = msgspec.msgpack.encode(picture), int(PREVIEW_SECONDS * 1000)
        with redis_errors("write preview"):
            self._client.set(self._keys.preview(stream_id), payload, px=milliseconds)

    def watch(self, fps: Mapping[str, float]) -> None:
        """Have previews made of streams for a while, so many per second."""
        pipeline = self._client.pipeline(transaction=False)
        for stream_id, wanted in fps.items():
            milliseconds = int(WATCHED_SECONDS * 1000)
            pipeline.set(self._keys.watched(stream_id), f"{wanted:g}", px=milliseconds)
        self._answers(pipeline)

    def previews(self, stream_ids: Sequence[str]) -> dict[str, Picture]:
        """The newest previews, of those streams that have one."""
        found = self._get([self._keys.preview(stream_id) for stream_id in stream_ids])
        pictures = {s: _picture(value) for s, value in zip(stream_ids, found, strict=True)}
        return {s: picture for s, picture in pictures.items() if picture is not None}

    def watched(self, stream_ids: Sequence[str]) -> dict[str, float]:
        """Previews per second that are wanted of each; 0: nobody watches."""
        found = self._get([self._keys.watched(stream_id) for stream_id in stream_ids])
        return {s: _fps(value) for s, value in zip(stream_ids, found, strict=True)}

    def forget(self, stream_id: str) -> None:
        """Nobody is to see the stream any more."""
        of = self._keys
        with redis_errors("remove pictures"):
            for key in (of.snapshots(stream_id), of.preview(stream_id), of.watched(stream_id)):
                self._client.delete(key)

    def _get(self, keys: Sequence[str]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(key)
        return self._answers(pipeline)

    def _answers(self, pipeline: Any) -> list[Any]:
        with redis_errors("pictures"):
            answers: list[Any] = pipeline.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise translated(answer, "pictures")
        return answers


def _picture(value: bytes | None) -> Picture | None:
    if value is None:
        return None
    try:
        return msgspec.msgpack.decode(value, type=Picture)
    except msgspec.MsgspecError:
        return None  # as good as none


def _fps(value: bytes | None) -> float:
    try:
        return max(0.0, min(float(value or 0), 60.0))
    except ValueError:
        return 0.0
