"""Who may come in: the tokens as they are now, and the connections that they hold open."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from streamer.core.errors import AccessDeniedError, StreamerError, TransportError
from streamer.transport.tokens import Scope, TokenEntry, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streamer.transport.tokens import TokenStore
    from workers.gateway.limits import RateLimits

REFRESH_SECONDS = 1.0
"""How often the tokens are read: a revoked one is worth something for so long."""

MISS_SECONDS = 0.25
"""An unknown token has them read again, but not more often than this."""

RUN_TOKEN = "run"
"""The name of the token that a gateway was started with. It is in no store."""


class End(StrEnum):
    """Why a token is not, or no longer, good."""

    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"


class AccessError(StreamerError):
    """A token is not good.

    Args:
        end: Why.
    """

    def __init__(self, end: End) -> None:
        super().__init__(f"the token is {end}")
        self.end = end


class TooManyConnectionsError(StreamerError):
    """A token holds as many connections as it may."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The bearer of a valid token."""

    name: str
    token: TokenEntry


class Grant:
    """A token, held by an open connection.

    Attributes:
        principal: Whose.
        end: Why the connection has to end; None: it has not.
    """

    def __init__(self, principal: Principal) -> None:
        self.principal = principal
        self.end: End | None = None
        self._callbacks: list[Callable[[], None]] = []

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call this when the token is no longer good; at once, if it is not now."""
        self._callbacks.append(callback)
        if self.end is not None:
            callback()

    def finish(self, end: End) -> None:
        """The token is no longer good."""
        self.end = end
        for callback in self._callbacks:
            callback()


class Access:
    """The tokens, read again every second. Used by the event loop.

    While Redis is away, the tokens last read stay as they are: nothing can be revoked without it.

    Args:
        store: Where they are.
        run_token: One more, with all rights; None if there is none.
        rates: How often each may ask.
        connections_per_token: How many connections each may hold.
        now_ns: UTC nanoseconds since 1970.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        run_token: str | None,
        rates: RateLimits,
        connections_per_token: int,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.rates = rates
        self._store = store
        self._now_ns = now_ns
        self._connections_per_token = connections_per_token
        self._own: dict[str, TokenEntry] = {}
        if run_token is not None:
            self._own[RUN_TOKEN] = TokenEntry(
                digest=digest_of(run_token), scopes=(Scope.ADMIN,), created_ns=now_ns()
            )
        self._tokens = dict(self._own)
        self._unreadable: list[str] = []
        self.denied: AccessDeniedError | None = None
        self._grants: set[Grant] = set()
        self._refreshing, self._looking = asyncio.Lock(), asyncio.Lock()
        self._refreshed_at = -MISS_SECONDS

    @property
    def num_tokens(self) -> int:
        """How many are good now."""
        now_ns = self._now_ns()
        return sum(not token.expired(now_ns) for token in self._tokens.values())

    async def refresh(self) -> None:
        """Read the tokens, and end what is held by those that are gone.

        Raises:
            TransportError: Redis does not answer.
        """
        async with self._refreshing:
            self._refreshed_at = time.monotonic()
            entries, unreadable = await asyncio.to_thread(self._store.read)
            self._tokens, self.denied = entries | self._own, None
            if unreadable != self._unreadable:
                self._unreadable = unreadable
                structlog.get_logger().error("unreadable tokens are ignored", names=unreadable)
        self._end_stale()

    async def run(self) -> None:
        """Read them every second until cancelled.

        Raises:
            TransportError: What stands in Redis are no tokens.
        """
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                await self.refresh()
            except TransportError as error:
                self.denied = error if isinstance(error, AccessDeniedError) else None
                if not error.retryable and self.denied is None:
                    raise
                self._end_stale()  # the feed tells of the loss; time goes on without Redis

    async def identify(self, secret: str, *, address: str) -> Principal:
        """Whose token this is.

        Args:
            secret: The token.
            address: Where the caller is: who fails often is not looked up in Redis again.

        Raises:
            AccessError: It is unknown, revoked or expired.
        """
        digest = digest_of(secret)
        principal = self._find(digest)
        if principal is None and self.rates.may_fail(address):
            await self._look_again()
            principal = self._find(digest)
        if principal is None:
            raise AccessError(End.UNKNOWN)
        if principal.token.expired(self._now_ns()):
            raise AccessError(End.EXPIRED)
        return principal

    @contextlib.contextmanager
    def hold(self, principal: Principal) -> Iterator[Grant]:
        """While entered, a connection counts as held, and hears when its token ends.

        Raises:
            TooManyConnectionsError: The token holds as many as it may.
        """
        held = sum(grant.principal.name == principal.name for grant in self._grants)
        if held >= self._connections_per_token:
            raise TooManyConnectionsError(
                f"expected at most {self._connections_per_token} open connections of a token; "
                "close one, or raise gateway.connections_per_token"
            )
        grant = Grant(principal)
        self._grants.add(grant)
        try:
            yield grant
        finally:
            self._grants.discard(grant)

    async def _look_again(self) -> None:
        """An unknown token may have been made just now. Many that ask share one look."""
        asked_at = time.monotonic()
        async with self._looking:
            if self._refreshed_at >= asked_at:
                return
            await asyncio.sleep(max(0.0, self._refreshed_at + MISS_SECONDS - time.monotonic()))
            with contextlib.suppress(TransportError):  # then what was known has to do
                await self.refresh()

    def _find(self, digest: str) -> Principal | None:
        found = None
        for name, token in self._tokens.items():
            # All of them, each in constant time: how long it takes tells nothing.
            if hmac.compare_digest(token.digest.encode(), digest.encode()):
                found = Principal(name, token)
        return found

    def _end_stale(self) -> None:
        now_ns = self._now_ns()
        for grant in list(self._grants):
            if grant.end is not None:
                continue
            principal = grant.principal
            if self._tokens.get(principal.name) != principal.token:
                grant.finish(End.REVOKED)
            elif principal.token.expired(now_ns):
                grant.finish(End.EXPIRED)
