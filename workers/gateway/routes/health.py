"""`/v1/health`: how the gateway is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from streamer import __version__
from workers.gateway.auth import Principal, identified

if TYPE_CHECKING:
    from workers.gateway.context import Context


class HealthInfo(BaseModel):
    """How the gateway is. Without a token only the first two."""

    status: str
    version: str
    redis: bool | None = None
    clients: int | None = None
    cursor: str | None = None


def health_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["health"])

    @router.get("/v1/health", response_model_exclude_none=True)
    async def health(caller: Annotated[Principal | None, identified()]) -> HealthInfo:
        """How the gateway is; with a token, also what it is doing."""
        feed = context.feed
        status = "ok" if feed.connected else "degraded"
        if caller is None:
            return HealthInfo(status=status, version=__version__)
        return HealthInfo(
            status=status,
            version=__version__,
            redis=feed.connected,
            clients=feed.num_clients,
            cursor=str(feed.cursor),
        )

    return router
