"""The gateway's process: a port, a uvicorn server in a thread, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from streamer.core.errors import ConfigError, StreamerError, TransportError
from streamer.transport.connection import connect_to_read
from streamer.transport.keys import Keys
from streamer.transport.registry import agree
from workers.gateway.app import build_app
from workers.gateway.context import HEARTBEAT_SECONDS, Context
from workers.gateway.feed import Feed
from workers.gateway.previews import Previews

if TYPE_CHECKING:
    import redis

    from streamer.core.config import Settings
    from workers.gateway.metrics import GatewayMetrics

DRAIN_SECONDS = 2
"""How long clients that don't read may hold up the end."""

STALLED_MS = 30_000
"""A client that has taken nothing for so long is cut off by the kernel."""

SEND_BUFFER_BYTES = 256 * 1024
"""Of each connection, in the kernel: what a slow client holds besides its own buffer."""


class GatewayService:
    """Serves events while started. A worker's `Service`; `port` is where it listens.

    The port is taken at once, so that a taken one is told before anything else is done.

    Raises:
        ConfigError: The port is taken, or the address is none of this host.
    """

    remark = ""

    def __init__(
        self,
        settings: Settings,
        metrics: GatewayMetrics,
        *,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._url = settings.redis.url
        self._keys = Keys(settings.redis.partitions)
        self._metrics = metrics
        self._heartbeat_seconds = heartbeat_seconds
        self._credentials_directory = settings.gateway.credentials_directory
        self._socket = _listen(settings.gateway.host, settings.gateway.port)
        self.port: int = self._socket.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: Feed | None = None
        self._previews: Previews | None = None
        self._server: uvicorn.Server | None = None
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gateway", daemon=True)

    def start(self) -> None:
        """Connect and serve.

        Raises:
            TransportError: Redis does not answer.
        """
        self._thread.start()
        self._started.wait()
        self._check()

    def turn(self, *, timeout_seconds: float) -> None:
        """See that the event loop comes round.

        Raises:
            TransportError: It has ended.
        """
        self._thread.join(timeout_seconds)
        self._check()
        assert self._loop is not None
        came_round = threading.Event()
        try:
            self._loop.call_soon_threadsafe(came_round.set)
        except RuntimeError:  # it has just ended; the thread says why
            self._thread.join()
        while not came_round.wait(timeout_seconds):
            self._check()

    def recover(self) -> None:
        """Nothing: the feed connects again by itself."""

    def drain(self, *, deadline_seconds: float) -> None:
        """End all event streams, then the server."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop)
            self._thread.join(deadline_seconds)

    def close(self) -> None:
        """Free the port."""
        self._socket.close()

    def _check(self) -> None:
        if self._thread.is_alive() and self._failure is None:
            return
        if isinstance(self._failure, StreamerError):
            raise self._failure
        raise TransportError(f"gateway: server ended ({self._failure})", retryable=False)

    def _stop(self) -> None:
        assert self._server is not None
        assert self._feed is not None
        self._feed.close()
        if self._previews is not None:
            self._previews.close()
        self._server.should_exit = True

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # handed to the main thread, which ends the process with it
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        # One for the feed, which closes it when it breaks; one for all else, in many threads.
        async with contextlib.AsyncExitStack() as stack:
            reader, client = [await asyncio.to_thread(self._connect, stack) for _ in range(2)]
            # Both are closed when no thread uses them any more.
            stack.push_async_callback(self._loop.shutdown_default_executor)
            await asyncio.to_thread(agree, client, keys=self._keys)
            self._feed = Feed(reader, metrics=self._metrics)
            await self._feed.start()
            self._previews = Previews(client, keys=self._keys)
            context = Context(
                feed=self._feed,
                client=client,
                keys=self._keys,
                metrics=self._metrics,
                previews=self._previews,
                heartbeat_seconds=self._heartbeat_seconds,
                credentials_directory=self._credentials_directory,
            )
            config = uvicorn.Config(
                build_app(context),
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
            await self._until_stopped(_Server(config, started=self._started), self._feed)

    def _connect(self, stack: contextlib.AsyncExitStack) -> redis.Redis:
        client = connect_to_read(self._url, of="redis.url")
        stack.callback(client.close)
        return client

    async def _until_stopped(self, server: uvicorn.Server, feed: Feed) -> None:
        self._server = server
        reader = asyncio.create_task(feed.run(), name="feed")
        # A feed that can't go on ends the server, and with it this worker.
        reader.add_done_callback(lambda _: self._stop())
        try:
            await server.serve(sockets=[self._socket])
        finally:
            reader.cancel()
            (end,) = await asyncio.gather(reader, return_exceptions=True)
        if isinstance(end, Exception):
            raise end


class _Server(uvicorn.Server):
    """uvicorn, telling when it listens."""

    def __init__(self, config: uvicorn.Config, *, started: threading.Event) -> None:
        super().__init__(config)
        self._listens = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listens.set()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"gateway: can't listen on {host}:{port} ({error.strerror}); choose another with "
            "gateway.port, or 0 for a free one"
        ) from error
    # Connections inherit these.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_MS)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener
