"""A subscription in an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from streamer.client.subscription import subscribe
from streamer.core.errors import StreamerError
from streamer.transport.access import ANYBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from streamer.client.continuity import Hole
    from streamer.client.cursor import Cursor
    from streamer.client.subscription import Subscription
    from streamer.core.errors import TransportError
    from streamer.core.event import Event
    from streamer.transport.access import RedisAccess

MAX_WAITING = 256
"""Events read ahead of the loop. Then the reading waits, and the gateway may cut us off: we resume
where we were."""


@dataclass(frozen=True, slots=True)
class _Told:
    """A callback's turn has come."""

    call: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _End:
    """There will be no more."""

    error: StreamerError | None


class AsyncSubscription:
    """An asynchronous iterator of events. Used by one task.

    It is a `Subscription` that a thread of its own reads: delivery is the same. Use it as
    `async with`, or call `aclose`: else its thread goes on. Callbacks are called in the loop,
    before the event that follows what they are told.

    Args:
        connect: Makes the subscription, given callbacks for `on_hole` and `on_lost`.
        on_hole: As of `Subscription`.
        on_lost: As of `Subscription`.
    """

    def __init__(
        self,
        connect: Callable[..., Subscription],
        *,
        on_hole: Callable[[Hole], None] | None = None,
        on_lost: Callable[[TransportError], None] | None = None,
    ) -> None:
        self._subscription = connect(on_hole=self._telling(on_hole), on_lost=self._telling(on_lost))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: deque[Event | _Told | _End] = deque()
        self._room = threading.Semaphore(MAX_WAITING)
        self._news = asyncio.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="subscription", daemon=True)

    @property
    def cursor(self) -> Cursor | None:
        """The last place in the log that was read; some events may still wait here."""
        return self._subscription.cursor

    @property
    def holes(self) -> deque[Hole]:
        """As of `Subscription`."""
        return self._subscription.holes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            StreamerError: As of `Subscription`.
        """
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._thread.start()
        while True:
            while not self._waiting:
                if self._closed.is_set():
                    raise StopAsyncIteration
                self._news.clear()
                await self._news.wait()
            match self._waiting[0]:
                case _End() as end:  # stays there, for who asks again
                    if end.error is not None:
                        raise end.error
                    raise StopAsyncIteration
                case _Told() as told:
                    self._pop()
                    told.call()
                case event:
                    self._pop()
                    return event

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it, its connection and its thread: at once over HTTP, within 1 s over Redis."""
        self._closed.set()
        self._waiting.clear()
        self._news.set()
        self._room.release()
        self._subscription.stop()
        if self._loop is not None:
            await asyncio.to_thread(self._thread.join)

    def _pop(self) -> None:
        self._waiting.popleft()
        self._room.release()

    def _telling(self, callback: Callable[[Any], None] | None) -> Callable[[Any], None] | None:
        if callback is None:
            return None
        return lambda told: self._put(_Told(partial(callback, told)))

    def _read(self) -> None:
        error: StreamerError | None = None
        try:
            with self._subscription:
                for event in self._subscription:
                    self._put(event)
        except StreamerError as found:  # it is the consumer's
            error = found
        self._put(_End(error))

    def _put(self, item: Event | _Told | _End) -> None:
        self._room.acquire()
        if self._closed.is_set():
            self._room.release()  # for whatever is still on its way here
            return
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._take, item)

    def _take(self, item: Event | _Told | _End) -> None:
        if not self._closed.is_set():
            self._waiting.append(item)
            self._news.set()


def subscribe_async(
    url: str,
    *,
    since: str | None = None,
    stream: str | Sequence[str] | None = None,
    types: Sequence[str] = (),
    min_confidence: float = 0.0,
    token: str | None = None,
    follow: bool = True,
    on_hole: Callable[[Hole], None] | None = None,
    on_lost: Callable[[TransportError], None] | None = None,
    access: RedisAccess = ANYBODY,
) -> AsyncSubscription:
    """As `subscribe`, for an event loop. Nothing is connected before the first event is awaited.

    Args:
        url: As there, and so are all the others.
        since: Where to begin.
        stream: Which streams.
        types: Which types.
        min_confidence: How sure.
        token: For a gateway.
        follow: False ends when everything there was has been delivered.
        on_hole: Is told of missing events, in the loop, before the event that follows them.
        on_lost: Is told of a lost connection, in the loop; what it raises comes out of the
            iteration.
        access: For Redis.

    Raises:
        ConfigError: The URL, `since`, the token or a file of `access` can't be.
    """
    connect = partial(
        subscribe,
        url,
        since=since,
        stream=stream,
        types=types,
        min_confidence=min_confidence,
        token=token,
        follow=follow,
        access=access,
    )
    return AsyncSubscription(connect, on_hole=on_hole, on_lost=on_lost)
