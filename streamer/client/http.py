"""Events from the gateway: server-sent events over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from streamer.client.cursor import Cursor
from streamer.client.gap import GapReason
from streamer.client.link import Entry, Missed, Position, Rewound
from streamer.client.sse import parse_sse
from streamer.core.errors import ConfigError, TransportError
from streamer.transport.tokens import CLIENT_TOKEN_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.client.filter import EventFilter
    from streamer.client.link import Message
    from streamer.client.sse import SseMessage

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750
_PASSING = (408, 429)

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 40.0
"""Without a byte for so long, the connection is dead: heartbeats come every 15 s."""


class HttpLink:
    """Reads `/v1/events` of a gateway.

    Delivery: every entry after the cursor, in order; a gap is stated, and so is a log that was
    rolled back, after which entries may come again.

    Args:
        url: `http://HOST:PORT` or `https://…`, with or without `/v1/events`.
        since: As typed: a cursor or a duration; None for new events only.
        wanted: Streams; types are asked for in full, so that holes can be noticed.
        token: For the gateway.

    Raises:
        ConfigError: The URL or the token can't be.
    """

    def __init__(
        self, url: str, *, since: str | None, wanted: EventFilter, token: str | None
    ) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"events: expected http://HOST:PORT ({error})") from None
        if not parts.hostname or "@" in parts.netloc:
            raise ConfigError("events: expected http://HOST:PORT without user and password")
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, port, timeout=CONNECT_SECONDS)
        self.name = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/").removesuffix("/v1/events") + "/v1/events"
        self._query = [("stream", pattern) for pattern in wanted.streams]
        self._since = since
        if token is not None and not _TOKEN.fullmatch(token):
            raise ConfigError("events: expected a token as `streamer token create` prints it")
        self._token = token
        self._socket: socket.socket | None = None
        self._interrupted = False

    def messages(self, cursor: Cursor | None) -> Iterator[Message]:
        """Everything after the cursor, then what comes, until the gateway ends it."""
        try:
            with self._ask(cursor) as response:
                for message in parse_sse(iter(response.readline, b"")):
                    told = _told(message)
                    if told is not None:
                        yield told
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise TransportError(f"gateway {self.name}: {reason}") from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection."""
        self._socket = None
        self._connection.close()

    def interrupt(self) -> None:
        """End the wait of the thread that reads, for good."""
        self._interrupted = True
        connection = self._socket
        if connection is not None:
            with contextlib.suppress(OSError):  # it has just ended by itself
                connection.shutdown(socket.SHUT_RDWR)

    def _ask(self, cursor: Cursor | None) -> http.client.HTTPResponse:
        headers = {"Accept": "text/event-stream"}
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token}"
        query = list(self._query)
        if cursor is not None:
            headers["Last-Event-ID"] = str(cursor)
        elif self._since is not None:
            query.append(("since", self._since))
        path = f"{self._path}?{urlencode(query)}" if query else self._path
        self._connection.timeout = CONNECT_SECONDS
        self._connection.connect()
        # The connection gives it away to its response.
        self._socket = self._connection.sock
        if self._interrupted:
            raise TransportError(f"gateway {self.name}: interrupted")
        self._connection.sock.settimeout(SILENCE_SECONDS)
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        kind = response.headers.get_content_type()
        if response.status == 200 and kind == "text/event-stream":
            return response
        with response:
            why = f"gateway {self.name}: {response.status} {problem_of(response)}"
        if response.status == 401 and self._token is None:
            raise ConfigError(f"{why}; give a token, or set {CLIENT_TOKEN_VARIABLE}")
        passes = response.status in _PASSING or response.status >= 500
        if 400 <= response.status < 500 and not passes:
            raise ConfigError(why)
        # 200 with another content is some other server.
        raise TransportError(why, retryable=passes)


def _told(message: SseMessage) -> Message | None:
    """What a message of the gateway means."""
    place = Cursor.parse(message.last_id) if message.last_id else None
    match message.event:
        case "gap" if place is not None:
            return Missed(place, GapReason(json.loads(message.data)["reason"]))
        case "rewind" if place is not None:
            return Rewound(place)
        case "live":
            return Position(place, live=True)
        case "open":
            return None  # said before; who subscribes here wants what comes
        case "overflow" | "end":
            # The gateway hangs up now; the next connection goes on from the cursor, or is refused.
            return None
        case _ if message.data and place is not None:
            return Entry(place, message.data.encode())
        case _:
            return Position(place)


def problem_of(response: http.client.HTTPResponse) -> str:
    """Why, in words: the detail of a problem document (RFC 9457), or the standard phrase."""
    if response.headers.get_content_type() != "application/problem+json":
        return f"{response.reason}: expected a gateway of streamer there"
    return str(json.loads(response.read(65_536))["detail"])
