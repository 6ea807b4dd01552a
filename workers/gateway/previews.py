"""Previews for all viewers: one look at Redis for everybody, each gets the newest at its pace."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from streamer.core.errors import TransportError
from streamer.transport.pictures import Picture, PictureStore
from streamer.transport.registry import StreamRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Iterator

    import redis

    from streamer.transport.keys import Keys

MAX_FPS = 10.0
MIN_FPS = 0.5
POLLED_FPS = 1.0
"""For those who ask for single pictures."""

ASK_SECONDS = 1.0
"""How often the ingest workers are told that somebody watches."""

RETRY_SECONDS = 0.5


@dataclass(eq=False, slots=True)
class _Viewer:
    """Somebody who watches.

    Attributes:
        fps: How many pictures per second it wants.
        news: Set when there is something to look at.
        picture: The newest one.
        over: Whether there will be no more.
    """

    fps: float
    news: asyncio.Event = field(default_factory=asyncio.Event)
    picture: Picture | None = None
    over: bool = False


class Previews:
    """Gets previews while somebody watches, and only then.

    However many viewers a stream has, its pictures are made and read once. A viewer that is slow
    gets fewer: the newest picture when it is ready for one.

    Args:
        client: A connection, for many threads.
        keys: Key names.
    """

    def __init__(self, client: redis.Redis, *, keys: Keys) -> None:
        self._store = PictureStore(client, keys=keys)
        self._registry = StreamRegistry(client, keys=keys)
        self._viewers: dict[str, set[_Viewer]] = {}
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def pictures(self, stream_id: str, *, fps: float) -> AsyncGenerator[Picture]:
        """Pictures as they come, at most `fps` a second. Ends when the stream is removed."""
        loop = asyncio.get_running_loop()
        with self._viewing(stream_id, fps) as viewer:
            while not viewer.over:
                await viewer.news.wait()
                viewer.news.clear()
                if viewer.picture is not None and not viewer.over:
                    due = loop.time() + 1 / fps
                    yield viewer.picture
                    await asyncio.sleep(max(0.0, due - loop.time()))

    async def newest(self, stream_id: str, *, wait_seconds: float) -> Picture | None:
        """The newest picture, None if there is none within that time."""
        with self._viewing(stream_id, POLLED_FPS) as viewer, contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds):
                await viewer.news.wait()
        return viewer.picture

    def close(self) -> None:
        """End all views."""
        self._closed = True
        for viewers in self._viewers.values():
            _end(viewers)

    @contextlib.contextmanager
    def _viewing(self, stream_id: str, fps: float) -> Iterator[_Viewer]:
        viewer = _Viewer(fps)
        if self._closed:
            _end({viewer})
        self._viewers.setdefault(stream_id, set()).add(viewer)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._look_and_show(), name="previews")
        try:
            yield viewer
        finally:
            viewers = self._viewers[stream_id]
            viewers.discard(viewer)
            if not viewers:
                del self._viewers[stream_id]

    async def _look_and_show(self) -> None:
        loop = asyncio.get_running_loop()
        asked: dict[str, float] = {}
        asked_at = 0.0
        while self._viewers:
            wanted = {s: max(v.fps for v in viewers) for s, viewers in self._viewers.items()}
            begun = loop.time()
            try:
                if wanted != asked or begun - asked_at >= ASK_SECONDS:
                    gone = await asyncio.to_thread(self._ask, wanted)
                    asked, asked_at = wanted, begun
                    for stream_id in gone:
                        _end(self._viewers.get(stream_id, ()))
                found = await asyncio.to_thread(self._store.previews, list(wanted))
            except TransportError:  # the feed reports it
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for stream_id, picture in found.items():
                for viewer in self._viewers.get(stream_id, ()):
                    if viewer.picture != picture:
                        viewer.picture = picture
                        viewer.news.set()
            pause = min(0.1, 1 / max(wanted.values()))
            await asyncio.sleep(max(0.0, pause - (loop.time() - begun)))

    def _ask(self, wanted: dict[str, float]) -> set[str]:
        """Say that somebody watches. Returns streams that are no more."""
        self._store.watch(wanted)
        entries = self._registry.read()[0]
        return {s for s in wanted if s not in entries or entries[s].removed}


def _end(viewers: Iterable[_Viewer]) -> None:
    for viewer in viewers:
        viewer.over = True
        viewer.news.set()
