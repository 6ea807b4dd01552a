"""HTTP/1.1 on a connection: uvicorn's, with a deadline for requests and problems as documents."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from workers.gateway.problem import ProblemResponse

if TYPE_CHECKING:
    import asyncio

REQUEST_SECONDS = 10.0
"""Longest time for a request's head to arrive: else silent connections would pile up."""


LINGER_SECONDS = 1.0
"""How long a client that was refused may go on sending: closed at once, it may miss the answer."""


class GatewayProtocol(H11Protocol):
    """One connection. Used by the event loop."""

    _deadline: asyncio.TimerHandle | None = None
    _refused: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A request is due."""
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """No request will come."""
        self._stop_expecting()
        if self._refused is not None:
            self._refused.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request: the rest is due, if it is not there yet."""
        if self._refused is not None:
            return  # what was on its way
        if not self._is_serving():
            self._expect_request()
        super().data_received(data)
        if self._is_serving():
            self._stop_expecting()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The connection is another protocol's from here on."""
        self._stop_expecting()
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """Say what was wrong, and hang up."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            error = sys.exception()
            hint = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
            problem = ProblemResponse(hint, "expected an HTTP/1.1 request within the limits")
            headers: list[Any] = [*problem.raw_headers, (b"connection", b"close")]
            for part in (
                h11.Response(status_code=hint, headers=headers),
                h11.Data(data=bytes(problem.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(part) or b"")
        if self.cycle is not None:
            # What answers the request whose body this was would be the second answer.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """Close, but not over unread bytes: the kernel would reset the connection (RFC 9112, 9.6).

        There is no half of a TLS connection to close.
        """
        if self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._stop_expecting()
        self.transport.write_eof()
        self.transport.resume_reading()
        self._refused = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _is_serving(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def _stop_expecting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
