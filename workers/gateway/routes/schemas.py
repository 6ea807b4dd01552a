"""`/schemas/…` and `/asyncapi.json`: what events look like, for machines. Public."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from streamer import __version__
from streamer.core.event_schema import event_schema, schema_names
from workers.gateway.asyncapi import asyncapi_document
from workers.gateway.routes.query import EventQuery

if TYPE_CHECKING:
    from workers.gateway.context import Context


class SchemaResponse(JSONResponse):
    """A JSON Schema."""

    media_type = "application/schema+json"


class SchemaList(BaseModel):
    """Where the schemas are."""

    schemas: dict[str, str]


def schemas_router(_: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["schemas"])

    @router.get("/schemas/")
    def index(request: Request) -> SchemaList:
        """Addresses of the schemas, by event type; `streamer.event` is that of any event."""
        base = _base(request)
        return SchemaList(schemas={name: f"{base}{name}.json" for name in schema_names()})

    @router.get(
        "/schemas/{name}.json",
        response_class=SchemaResponse,
        responses={404: {"description": "There is no such schema."}},
    )
    def schema(request: Request, name: Annotated[str, Path(max_length=64)]) -> SchemaResponse:
        """The JSON Schema (2020-12) of an event type: `streamer.action.start`."""
        if name not in schema_names():
            raise HTTPException(404, f"expected one of {', '.join(schema_names())}, found {name!r}")
        return SchemaResponse(event_schema(name, base=_base(request)))

    @router.get("/asyncapi.json", include_in_schema=False)
    def asyncapi(request: Request) -> dict[str, Any]:
        """The AsyncAPI document."""
        return asyncapi_document(
            host=request.url.netloc,
            is_secure=request.url.scheme == "https",
            version=__version__,
            query=EventQuery,
        )

    return router


def _base(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}/schemas/"
