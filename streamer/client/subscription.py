"""A subscription: events as they come, across lost connections."""

from __future__ import annotations

import os
import threading
from collections import deque
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import msgspec

from streamer.client.continuity import Continuity, Hole, HoleReason
from streamer.client.cursor import parse_since
from streamer.client.filter import EventFilter
from streamer.client.gap import GapReason
from streamer.client.http import HttpLink
from streamer.client.link import Entry, Missed, Position, Rewound
from streamer.client.redis import RedisLink
from streamer.core.errors import ConfigError, TransportError
from streamer.core.event import decode_event
from streamer.transport.access import ANYBODY
from streamer.transport.connection import is_redis_url
from streamer.transport.tokens import CLIENT_TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from streamer.client.cursor import Cursor
    from streamer.client.link import Link, Message
    from streamer.core.event import Event
    from streamer.transport.access import RedisAccess

HOLES_KEPT = 100
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Waits before connecting again; the last one repeats."""

_HOLE_OF_GAP = {
    GapReason.TRIMMED: HoleReason.LOG_TRIMMED,
    GapReason.RESTARTED: HoleReason.LOG_RESTARTED,
}


class Subscription:
    """An iterator of events. Used by one thread.

    Delivery: each event once, those of a stream in order, those of different streams by arrival.
    A lost connection is made again, for ever, from the last event seen; and if Redis has lost its
    newest events, from the newest that it kept. What was missed nevertheless is never passed over
    in silence: it is in `holes`, and `on_hole` is told before the event that follows it.

    Attributes:
        cursor: The last place in the log that is done with; None before the first message.
        holes: The newest `HOLES_KEPT` holes.
    """

    def __init__(
        self,
        link: Link,
        *,
        wanted: EventFilter,
        follow: bool = True,
        on_hole: Callable[[Hole], None] | None = None,
        on_lost: Callable[[TransportError], None] | None = None,
    ) -> None:
        self.cursor: Cursor | None = None
        self.holes: deque[Hole] = deque(maxlen=HOLES_KEPT)
        self._link = link
        self._wanted = wanted
        self._follow = follow
        self._on_hole = on_hole
        self._on_lost = on_lost
        self._continuity = Continuity()
        self._closed = threading.Event()
        self._attempt = 0
        self._events = self._run()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        return next(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def stop(self) -> None:
        """Ask it to end, from another thread: its iterator ends within seconds."""
        self._closed.set()
        self._link.interrupt()

    def close(self) -> None:
        """End it and its connection, from its own thread. Idempotent."""
        self._closed.set()
        self._events.close()
        self._link.close()

    def _run(self) -> Generator[Event]:
        while not self._closed.is_set():
            try:
                for message in self._link.messages(self.cursor):
                    self._attempt = 0
                    event = self._take(message)
                    if event is not None:
                        yield event
                    finished = not self._follow and isinstance(message, Position) and message.live
                    if finished or self._closed.is_set():
                        return
            except TransportError as error:
                if self._closed.is_set():
                    return
                # Without a first connection the address is more likely wrong than the server away.
                if not error.retryable or self.cursor is None:
                    raise
                if self._on_lost is not None:
                    self._on_lost(error)
            finally:
                self._link.close()
            self._closed.wait(RETRY_SECONDS[min(self._attempt, len(RETRY_SECONDS) - 1)])
            self._attempt += 1

    def _take(self, message: Message) -> Event | None:
        match message:
            case Entry():
                self.cursor = message.cursor
                return self._event(message.json)
            case Position():
                self.cursor = message.cursor or self.cursor
            case Missed():
                self.cursor = message.cursor
                if message.reason is GapReason.RESTARTED:
                    self._continuity.rewind()
                self._tell(Hole(reason=_HOLE_OF_GAP[message.reason]))
            case Rewound():
                self.cursor = message.cursor
                self._continuity.rewind()
        return None

    def _event(self, json: bytes) -> Event | None:
        try:
            event = decode_event(json)
        except msgspec.MsgspecError as error:
            raise TransportError(
                f"events: unreadable event after {self.cursor} ({error}); is the other side newer?",
                retryable=False,
            ) from error
        new, hole = self._continuity.take(event)
        if hole is not None:
            self._tell(hole)
        return event if new and self._wanted.takes_said(event) else None

    def _tell(self, hole: Hole) -> None:
        self.holes.append(hole)
        if self._on_hole is not None:
            self._on_hole(hole)


def subscribe(
    url: str,
    *,
    since: str | None = None,
    stream: str | Sequence[str] | None = None,
    types: Sequence[str] = (),
    token: str | None = None,
    min_confidence: float = 0.0,
    follow: bool = True,
    on_hole: Callable[[Hole], None] | None = None,
    on_lost: Callable[[TransportError], None] | None = None,
    access: RedisAccess = ANYBODY,
) -> Subscription:
    """Subscribe to events. Nothing is connected before the first `next`.

    Args:
        url: `redis://…`, `rediss://…`, `unix://…`, `redis+cluster://…` or `redis+sentinel://…` of
            the data plane, or `http(s)://…` of a gateway.
        since: Begin so long ago (`10m`) or after a cursor (`0`: the oldest event kept); None
            begins with the next event.
        stream: Only this stream, or these: globs, `cam*`.
        types: Only these types; globs, where `streamer.` may be left out: `action.*`.
        token: For a gateway; None takes the one in the variable `STREAMER_TOKEN`, if it is set.
        min_confidence: Only what is so sure, 0–1; ends and retractions always. See `EventFilter`.
        follow: False ends when everything there was has been delivered.
        on_hole: Is told of missing events, before the event that follows them.
        on_lost: Is told of a lost connection, before it is made again; what it raises ends the
            subscription.
        access: User, password and TLS files for Redis.

    Raises:
        ConfigError: The URL, `since`, the token or a file of `access` can't be.
    """
    streams = [stream] if isinstance(stream, str) else stream or ()
    wanted = EventFilter(tuple(streams), tuple(types), min_confidence)
    start = None if since is None else parse_since(since)
    scheme = urlsplit(url).scheme
    link: Link
    if is_redis_url(url):
        link = RedisLink(url, since=start, wanted=wanted, access=access)
    elif scheme in ("http", "https"):
        token = token or os.environ.get(CLIENT_TOKEN_VARIABLE) or None
        link = HttpLink(url, since=since, wanted=wanted, token=token)
    else:
        raise ConfigError(
            "events: expected a URL with redis://, rediss://, unix://, redis+cluster://, "
            f"redis+sentinel://, http:// or https://, found {scheme or 'no'} scheme"
        )
    return Subscription(link, wanted=wanted, follow=follow, on_hole=on_hole, on_lost=on_lost)
