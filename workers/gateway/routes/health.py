"""`/v1/health`: how the gateway is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from pydantic import BaseModel

from streamer import __version__

if TYPE_CHECKING:
    from workers.gateway.context import Context


class HealthInfo(BaseModel):
    """How the gateway is."""

    status: str
    version: str
    redis: bool
    clients: int
    cursor: str


def health_router(context: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["health"])

    @router.get("/v1/health")
    async def health() -> HealthInfo:
        """How the gateway is."""
        feed = context.feed
        return HealthInfo(
            status="ok" if feed.connected else "degraded",
            version=__version__,
            redis=feed.connected,
            clients=feed.num_subscribers,
            cursor=str(feed.cursor),
        )

    return router
