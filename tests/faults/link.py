"""One client's connection through the fault proxy."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import hiredis

from tests.faults.plan import Fault
from tests.faults.resp import commands

if TYPE_CHECKING:
    from collections.abc import Callable

READ_BYTES = 1 << 16
ANSWER_SECONDS = 2.0
"""Longest wait for a reply that is to be swallowed."""

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Link:
    """A client's connection and ours to the server. Lives in the proxy's loop.

    Args:
        client: The accepted connection.
        server: The one behind it.
        draw: The fault of a call to that function and its seconds, or None.
        flowing: While cleared, nothing moves.
    """

    def __init__(
        self,
        client: Stream,
        server: Stream,
        *,
        draw: Callable[[str], tuple[Fault, float] | None],
        flowing: asyncio.Event,
    ) -> None:
        self._from_client, self._to_client = client
        self._from_server, self._to_server = server
        self._draw = draw
        self._flowing = flowing
        self._sent = 0
        self._replied = 0
        self._answered = asyncio.Event()
        self._cut = asyncio.Event()
        self._deaf = False  # replies are swallowed
        self._half_open = False

    @property
    def poisoned(self) -> bool:
        """Whether it is open and useless."""
        return self._deaf or self._half_open

    def cut(self) -> None:
        """Close both sides."""
        self._cut.set()

    async def run(self) -> None:
        """Forward until either side closes, a fault does, or `cut` is called."""
        work = [
            asyncio.create_task(direction)
            for direction in (self._requests(), self._replies(), self._cut.wait())
        ]
        try:
            await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in work:
                task.cancel()
            await asyncio.gather(*work, return_exceptions=True)
            for writer in (self._to_client, self._to_server):
                writer.transport.abort()  # what is still to be written is lost with the wire

    async def _requests(self) -> None:
        buffer = bytearray()
        while received := await _read(self._from_client):
            buffer += received
            start = end = 0
            for command in commands(buffer):
                drawn = self._draw(command.function) if command.function else None
                if drawn is not None:
                    # What came before it goes first, in order.
                    await self._forward(bytes(buffer[start : command.start]))
                    start = command.end
                    call = bytes(buffer[command.start : command.end])
                    if not await self._suffer(*drawn, call):
                        return
                else:
                    self._sent += 1
                end = command.end
            await self._forward(bytes(buffer[start:end]))
            del buffer[:end]
        # Closed earlier, the server might never read what it was sent.
        await self._wait_for_replies()

    async def _suffer(self, fault: Fault, seconds: float, call: bytes) -> bool:
        """Forward a call, or not, as the fault says. False: close the connection."""
        match fault:
            case Fault.CUT_BEFORE:
                return False
            case Fault.HALF_OPEN:
                self._half_open = True
                await asyncio.Event().wait()  # until `cut`: even the client's end is not noticed
            case Fault.DELAY | Fault.LATE:
                await asyncio.sleep(seconds)
            case Fault.CUT_AFTER | Fault.SWALLOW:
                await self._wait_for_replies()  # those of earlier commands are delivered
                self._deaf = True
        self._sent += 1
        await self._forward(call)
        if fault is Fault.CUT_AFTER:
            await self._wait_for_replies()
            return False
        return True

    async def _wait_for_replies(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                while self._replied < self._sent:
                    self._answered.clear()
                    await self._answered.wait()

    async def _forward(self, data: bytes) -> None:
        await self._flowing.wait()
        await _write(self._to_server, data)

    async def _replies(self) -> None:
        counter = hiredis.Reader()
        while received := await _read(self._from_server):
            if not self.poisoned:
                await self._flowing.wait()
                await _write(self._to_client, received)
            counter.feed(received)
            while counter.gets() is not False:
                self._replied += 1
            self._answered.set()
        if self._half_open:
            await asyncio.Event().wait()


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(READ_BYTES)
    except OSError:
        return b""


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    # A side that has gone is noticed by who reads from it.
    with contextlib.suppress(OSError):
        writer.write(data)
        await writer.drain()
