"""What waits for one client, up to a bound."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from workers.gateway.batch import Batch

MAX_BEHIND = 1_000
"""Events that may wait for one client. One that falls further behind is disconnected."""

MAX_TAKEN = 64
"""Events sent to a client in one write, as far as they were not read at once."""


class Subscriber:
    """A bounded buffer. Of one event loop.

    Overflow policy: the client is cut off. It gets what it was sent before, then a message that
    says why, and may come again with its last id; nothing is left out in between.

    Args:
        is_client: Whether it is one; the gateway itself follows the events too.
    """

    def __init__(self, *, is_client: bool = True) -> None:
        self.is_client = is_client
        self._buffer: deque[Batch] = deque()
        self._num_waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self.overflowed = False
        self.closed = False

    def offer(self, batch: Batch) -> bool:
        """Append, unless that is too much: then the client has overflowed, and gets no more.

        But for rewinds: without them it would resume after an entry that is gone.
        """
        if self.overflowed:
            return True
        if self._buffer and self._num_waiting + len(batch) > MAX_BEHIND:
            self.overflowed = True
            kept = (waiting.rewinds() for waiting in (*self._buffer, batch))
            self._buffer = deque(waiting for waiting in kept if len(waiting))
        else:
            self._buffer.append(batch)
            self._num_waiting += len(batch)
        self._wake()
        return not self.overflowed

    def close(self) -> None:
        """There will be no more."""
        self.closed = True
        self._wake()

    async def take(self, *, timeout_seconds: float) -> list[Batch]:
        """The next ones; waits for the first. Empty after the time-out, or at the end."""
        if not self._buffer and not self.overflowed and not self.closed:
            loop = asyncio.get_running_loop()
            self._waiter = loop.create_future()
            timer = loop.call_later(timeout_seconds, self._wake)
            try:
                await self._waiter
            finally:
                timer.cancel()
                self._waiter = None
        taken: list[Batch] = []
        num_taken = 0
        while self._buffer and (not taken or num_taken + len(self._buffer[0]) <= MAX_TAKEN):
            taken.append(self._buffer.popleft())
            num_taken += len(taken[-1])
        self._num_waiting -= num_taken
        return taken

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
