"""The HTTP API: its routers in one app."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import FastAPI

from streamer import __version__
from workers.gateway.openapi import describe_api
from workers.gateway.problem import answer_with_problems
from workers.gateway.routes.corrections import corrections_router
from workers.gateway.routes.events import events_router
from workers.gateway.routes.health import health_router
from workers.gateway.routes.history import history_router
from workers.gateway.routes.models import models_router
from workers.gateway.routes.page import page_router
from workers.gateway.routes.pictures import pictures_router
from workers.gateway.routes.schemas import schemas_router
from workers.gateway.routes.session import session_router
from workers.gateway.routes.streams import streams_router
from workers.gateway.routes.timeline import timeline_router
from workers.gateway.routes.websocket import websocket_router

if TYPE_CHECKING:
    from workers.gateway.context import Context


def build_app(context: Context) -> FastAPI:
    """The app."""
    app = FastAPI(
        title="streamer",
        version=__version__,
        docs_url=None,  # they would load scripts from the network
        redoc_url=None,
    )
    app.state.access = context.access
    answer_with_problems(app)
    for router in (
        events_router,
        websocket_router,
        history_router,
        streams_router,
        timeline_router,
        pictures_router,
        corrections_router,
        models_router,
        session_router,
        schemas_router,
        health_router,
        page_router,
    ):
        app.include_router(router(context))
    describe_api(app)
    return app
