"""Tokens on requests: what a route requires of its caller.

    @router.get("/v1/things", dependencies=[require(Scope.EVENTS_READ)])
    async def follow(grant: Annotated[Grant, holding(Scope.EVENTS_READ)]): ...

A token comes as `Authorization: Bearer …` (RFC 6750), or in the page's cookie.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator  # noqa: TC003  # FastAPI reads it
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection  # noqa: TC002  # FastAPI reads it

from streamer.transport.tokens import Scope
from workers.gateway.access import AccessError, Grant, Principal, TooManyConnectionsError

if TYPE_CHECKING:
    from workers.gateway.access import Access

__all__ = ["Grant", "Principal", "Scope", "holding", "identified", "require", "session_cookie"]

COOKIE = "streamer_session"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = 'Bearer realm="streamer"'

# Both only describe themselves in the OpenAPI document.
_BEARER = HTTPBearer(auto_error=False, scheme_name="token")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, scheme_name="session")


def require(scope: Scope) -> Any:
    """A dependency: 401, 403 or 429 unless the caller's token has the scope; its `Principal`."""
    return Depends(_REQUIRED[scope])


def holding(scope: Scope) -> Any:
    """As `require`, for a connection that stays open: its `Grant`, which tells when to end."""
    return Depends(_HOLDING[scope])


def identified() -> Any:
    """A dependency: the caller's `Principal`; None without a valid token."""
    return Depends(_identified)


def session_cookie(connection: HTTPConnection) -> str:
    """The cookie's name. A host's ports share its cookies, so the port is in the name."""
    _, _, port = connection.headers.get("host", "").rpartition(":")
    return f"{COOKIE}_{port}" if port.isdecimal() else COOKIE


def access_of(connection: HTTPConnection) -> Access:
    """The gateway's tokens."""
    access: Access = connection.app.state.access
    return access


def address_of(connection: HTTPConnection) -> str:
    """Where the caller is."""
    return connection.client.host if connection.client else ""


def is_own_origin(connection: HTTPConnection) -> bool:
    """Whether the request comes from a page of this gateway, as browsers tell."""
    host = connection.headers.get("host", "").lower()
    # A proxy in front may speak TLS when we don't.
    return connection.headers.get("origin", "").lower() in (f"http://{host}", f"https://{host}")


def unauthorized(connection: HTTPConnection, detail: str, *, error: str = "") -> HTTPException:
    """401, or 429 for an address that tries too often."""
    wait = access_of(connection).rates.count_failure(address_of(connection))
    if wait is not None:
        return too_many("too many requests without a valid token", wait)
    challenge = f'{_CHALLENGE}, error="{error}"' if error else _CHALLENGE
    return HTTPException(401, detail, {"WWW-Authenticate": challenge})


def too_many(detail: str, wait_seconds: int) -> HTTPException:
    """429."""
    return HTTPException(
        429, f"{detail}; try again in {wait_seconds} s", {"Retry-After": str(wait_seconds)}
    )


class _Required:
    """What `require` depends on."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    async def __call__(
        self,
        connection: HTTPConnection,
        _bearer: Annotated[object, Depends(_BEARER)],
        _cookie: Annotated[object, Depends(_COOKIE)],
    ) -> Principal:
        return await self.check(connection)

    async def check(self, connection: HTTPConnection) -> Principal:
        principal = await _principal(connection)
        if not principal.token.allows(self._scope):
            found = ", ".join(principal.token.scopes)
            raise HTTPException(
                403,
                f"expected a token with scope {self._scope}, found {found}",
                {
                    "WWW-Authenticate": f'{_CHALLENGE}, error="insufficient_scope", '
                    f'scope="{self._scope}"'
                },
            )
        return principal


class _Holding:
    """What `holding` depends on."""

    def __init__(self, scope: Scope) -> None:
        self._required = _Required(scope)

    async def __call__(
        self,
        connection: HTTPConnection,
        _bearer: Annotated[object, Depends(_BEARER)],
        _cookie: Annotated[object, Depends(_COOKIE)],
    ) -> AsyncGenerator[Grant]:
        principal = await self._required.check(connection)
        with contextlib.ExitStack() as stack:
            try:
                grant = stack.enter_context(access_of(connection).hold(principal))
            except TooManyConnectionsError as error:
                raise too_many(str(error), 1) from None
            yield grant


_REQUIRED = {scope: _Required(scope) for scope in Scope}
_HOLDING = {scope: _Holding(scope) for scope in Scope}


async def _identified(connection: HTTPConnection) -> Principal | None:
    is_anonymous = "authorization" not in connection.headers and not connection.cookies
    with contextlib.suppress(HTTPException):
        return None if is_anonymous else await _principal(connection)
    return None


async def _principal(connection: HTTPConnection) -> Principal:
    secret = _secret(connection)
    try:
        principal = await access_of(connection).identify(secret, address=address_of(connection))
    except AccessError as error:
        detail = f"{error}; ask for another, or make one with `streamer token create`"
        raise unauthorized(connection, detail, error="invalid_token") from None
    wait = access_of(connection).rates.count_request(principal.name)
    if wait is not None:
        raise too_many("too many requests with this token", wait)
    return principal


def _secret(connection: HTTPConnection) -> str:
    header = connection.headers.get("authorization")
    if header is not None:
        scheme, secret = get_authorization_scheme_param(header)
        if scheme.lower() != "bearer" or not secret:
            detail = "expected `Authorization: Bearer TOKEN`, found another kind of authorization"
            raise unauthorized(connection, detail, error="invalid_request")
        return secret
    secret = connection.cookies.get(session_cookie(connection), "")
    if not secret:
        raise unauthorized(
            connection, "expected a token: `Authorization: Bearer TOKEN`; found none"
        )
    # A browser sends the cookie whoever's page makes it ask.
    is_safe = connection.scope["type"] == "http" and connection.scope["method"] in SAFE_METHODS
    if not is_safe and not is_own_origin(connection):
        raise HTTPException(
            403, "expected the Origin of this gateway's own page with its cookie; use a token"
        )
    return secret
