"""`/v1/session`: who the caller is; and the page's cookie."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from streamer.transport.tokens import Scope
from workers.gateway.access import AccessError
from workers.gateway.auth import (
    Principal,
    access_of,
    address_of,
    is_own_origin,
    require,
    session_cookie,
    unauthorized,
)

if TYPE_CHECKING:
    from workers.gateway.context import Context


class SessionRequest(BaseModel):
    """What a page logs in with."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    token: str = Field(min_length=1, max_length=512, description="A token.")


class SessionInfo(BaseModel):
    """What the caller may do."""

    name: str
    scopes: list[Scope]
    expires: datetime | None


def session_router(_context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["session"])

    @router.get("/v1/session")
    async def session(
        principal: Annotated[Principal, require(Scope.EVENTS_READ)],
    ) -> SessionInfo:
        """Whose token the request has, and what it allows."""
        return _info(principal)

    @router.post("/v1/session")
    async def log_in(body: SessionRequest, request: Request, response: Response) -> SessionInfo:
        """Keep a token in a cookie that no script can read, for this gateway's own page."""
        _check_origin(request)
        try:
            principal = await access_of(request).identify(body.token, address=address_of(request))
        except AccessError as error:
            raise unauthorized(request, f"{error}; expected a valid one") from None
        response.set_cookie(
            session_cookie(request),
            body.token,
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )
        return _info(principal)

    @router.delete("/v1/session", status_code=204, response_class=Response)
    async def log_out(request: Request, response: Response) -> None:
        """Forget the cookie. Needs no token: an expired one must be let go of too."""
        _check_origin(request)
        response.delete_cookie(
            session_cookie(request),
            secure=_is_secure(request),
            httponly=True,
            samesite="strict",
        )

    return router


def _info(principal: Principal) -> SessionInfo:
    expires_ns = principal.token.expires_ns
    return SessionInfo(
        name=principal.name,
        scopes=[scope for scope in Scope if principal.token.allows(scope)],
        expires=None if expires_ns is None else datetime.fromtimestamp(expires_ns * 1e-9, UTC),
    )


def _check_origin(request: Request) -> None:
    """A browser says where a request comes from; another program need not."""
    if "origin" in request.headers and not is_own_origin(request):
        raise HTTPException(403, "expected the Origin of this gateway's own page")


def _is_secure(request: Request) -> bool:
    # A proxy in front may speak TLS when we don't.
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")
