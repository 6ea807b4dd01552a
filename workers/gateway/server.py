"""The gateway's process: a port, a uvicorn server in a thread, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from streamer.client.live import LiveViews
from streamer.core.errors import ConfigError, StreamerError, TransportError
from streamer.sources.guard import SourcePolicy
from streamer.transport.access import RedisAccess
from streamer.transport.connection import connect
from streamer.transport.install import agree
from streamer.transport.keys import Keys
from streamer.transport.permissions import Role
from streamer.transport.tokens import TokenStore
from workers.gateway.access import Access
from workers.gateway.app import build_app
from workers.gateway.board import Board
from workers.gateway.context import HEARTBEAT_SECONDS, Context
from workers.gateway.feed import Feed
from workers.gateway.limits import RateLimits
from workers.gateway.metrics import Counted
from workers.gateway.previews import Previews
from workers.gateway.protocol import GatewayProtocol
from workers.gateway.shield import Shield, allowed_hosts, is_loopback
from workers.gateway.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import redis

    from streamer.core.config import GatewaySettings, Settings
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

    Args:
        settings: Of this worker.
        metrics: Counts.
        run_token: A token with all rights besides those in Redis; None: there is none.
        heartbeat_seconds: Longest silence of an event stream.

    Raises:
        ConfigError: The port is taken, the address is none of this host, or a certificate is not
            usable.
    """

    remark = ""

    def __init__(
        self,
        settings: Settings,
        metrics: GatewayMetrics,
        *,
        run_token: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        self._settings = settings.gateway
        self._latency_budget_seconds = settings.latency_budget_seconds
        self._run_token = run_token
        self._tls = tls_context(settings.gateway)
        self._url = settings.redis.url
        self._access_to_redis = RedisAccess.of(settings.redis)
        self._keys = Keys(settings.redis.partitions)
        self._metrics = metrics
        self._heartbeat_seconds = heartbeat_seconds
        self._credentials_directory = settings.gateway.credentials_directory
        self._socket = _listen(settings.gateway.host, settings.gateway.port)
        self.port: int = self._socket.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: Feed | None = None
        self._access: Access | None = None
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
            AccessDeniedError: Redis does not let it read; it tries again by itself.
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
        for reader in (self._feed, self._access):
            if reader is not None and reader.denied is not None:
                raise reader.denied

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
            access = self._access = self._make_access(client)
            await access.refresh()
            _check_reach(self._settings, num_tokens=access.num_tokens, has_tls=bool(self._tls))
            self._previews = Previews(client, keys=self._keys)
            board = Board(self._feed, client)
            context = Context(
                feed=self._feed,
                client=client,
                keys=self._keys,
                metrics=self._metrics,
                access=access,
                policy=SourcePolicy(
                    kinds=self._settings.allow_sources, networks=self._settings.allow_networks
                ),
                previews=self._previews,
                board=board,
                live=LiveViews(client, keys=self._keys),
                corrections=Path(self._settings.corrections),
                latency_budget_seconds=self._latency_budget_seconds,
                heartbeat_seconds=self._heartbeat_seconds,
                credentials_directory=self._credentials_directory,
            )
            app = Shield(
                build_app(context),
                hosts=allowed_hosts(self._settings),
                max_body_bytes=self._settings.max_body_bytes,
                max_header_bytes=self._settings.max_header_bytes,
            )
            config = self._config(Counted(app, metrics=self._metrics))
            server = _Server(config, started=self._started)
            await self._until_stopped(server, self._feed.run(), access.run(), board.run())

    def _make_access(self, client: redis.Redis) -> Access:
        settings = self._settings
        return Access(
            TokenStore(client, keys=self._keys),
            run_token=self._run_token,
            rates=RateLimits(
                requests_per_minute=settings.requests_per_minute,
                failures_per_minute=settings.failures_per_minute,
            ),
            connections_per_token=settings.connections_per_token,
        )

    def _config(self, app: Counted) -> uvicorn.Config:
        tls = self._tls
        return uvicorn.Config(
            app,
            http=GatewayProtocol,
            h11_max_incomplete_event_size=self._settings.max_header_bytes,
            log_config=None,
            access_log=False,  # its lines would have queries in them
            server_header=False,
            proxy_headers=False,  # anybody can send them
            ssl_context_factory=None if tls is None else lambda *_: tls,
            lifespan="off",
            ws="websockets-sansio",
            ws_max_size=self._settings.max_body_bytes,
            ws_per_message_deflate=False,  # it would hold 300 kB per client, and much CPU
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )

    def _connect(self, stack: contextlib.AsyncExitStack) -> redis.Redis:
        client = connect(self._url, access=self._access_to_redis, role=Role.GATEWAY)
        stack.callback(client.close)
        return client

    async def _until_stopped(
        self, server: uvicorn.Server, *readers: Coroutine[None, None, None]
    ) -> None:
        self._server = server
        tasks = [asyncio.create_task(reader) for reader in readers]
        for task in tasks:
            # A reader that can't go on ends the server, and with it this worker.
            task.add_done_callback(lambda _: self._stop())
        try:
            await server.serve(sockets=[self._socket])
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        for end in ends:
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


def _check_reach(settings: GatewaySettings, *, num_tokens: int, has_tls: bool) -> None:
    """Who can come here from elsewhere needs a token, and should need no luck to keep it."""
    log = structlog.get_logger()
    if is_loopback(settings.host):
        if not num_tokens:
            log.warning("nobody can come in yet: `streamer token create NAME` makes a token")
        return
    if not num_tokens:
        raise ConfigError(
            f"gateway.host: {settings.host} can be reached from elsewhere, and there is no valid "
            "token; make one with `streamer token create NAME --redis URL`, name a file with one "
            "in gateway.token_file, or bind 127.0.0.1"
        )
    if not has_tls:
        log.warning(
            "tokens and events travel in the clear: set gateway.tls_certificate and "
            "gateway.tls_key, unless a proxy in front speaks TLS"
        )


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
