"""A TCP proxy in front of Redis: it delays, cuts, half-opens and swallows replies."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Self

from tests.faults.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from tests.faults.plan import Fault, Plan

HOST = "127.0.0.1"
STEP_SECONDS = 5.0
"""Longest time anything asked of the proxy's thread may take."""


class FaultProxy:
    """Listens on a loopback port of its own, from a thread. To be entered.

    Args:
        upstream: Port of the server.
        plan: What goes wrong; None for a plain wire, such as a replica's.
    """

    def __init__(self, upstream: int, *, plan: Plan | None = None) -> None:
        self._upstream = upstream
        self._plan = plan
        self._injecting = plan is not None
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = threading.Event()
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="fault-proxy", daemon=True
        )
        self._thread.start()
        if not self._started.wait(STEP_SECONDS):
            raise RuntimeError("the proxy did not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(STEP_SECONDS)

    def heal(self) -> None:
        """No more faults; poisoned connections are closed; what was frozen flows."""

        def do() -> None:
            self._injecting = False
            self._flowing.set()
            self._cut(lambda link: link.poisoned)

        self._do(do)

    def hurt(self) -> None:
        """Inject again after `heal`."""
        self._injecting = self._plan is not None

    def freeze(self) -> None:
        """Nothing moves in either direction, on any connection, until `thaw`."""
        self._do(lambda: self._flowing.clear())

    def thaw(self) -> None:
        """Let it flow."""
        self._do(lambda: self._flowing.set())

    def cut_all(self) -> None:
        """Close every connection."""
        self._do(lambda: self._cut(lambda _: True))

    def switch(self, upstream: int) -> None:
        """Clients reach another server from now on. Their connections are closed."""

        def do() -> None:
            self._upstream = upstream
            self._cut(lambda _: True)

        self._do(do)

    def _draw(self, function: str) -> tuple[Fault, float] | None:
        return self._plan.draw(function) if self._injecting and self._plan is not None else None

    def _cut(self, which: Callable[[Link], bool]) -> None:
        for link in self._links:
            if which(link):
                link.cut()

    def _do(self, action: Callable[[], object]) -> None:
        """Run it in the loop and wait for it."""
        done = threading.Event()

        def run() -> None:
            action()
            done.set()

        self._loop.call_soon_threadsafe(run)
        if not done.wait(STEP_SECONDS):
            raise RuntimeError("the proxy's loop is stuck")

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._flowing = asyncio.Event()
        self._flowing.set()
        server = await asyncio.start_server(
            lambda reader, writer: self._spawn(self._accept(reader, writer)), HOST, 0
        )
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        self._cut(lambda _: True)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close at the loop's next turn

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        # Kept here: the loop itself holds tasks weakly.
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.open_connection(HOST, self._upstream)
        except OSError:
            writer.transport.abort()  # as a machine says on which nobody listens
            return
        link = Link((reader, writer), server, draw=self._draw, flowing=self._flowing)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
