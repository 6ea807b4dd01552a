"""The OpenAPI document: what FastAPI makes of the routes, with events and errors in full.

Reference: OpenAPI 3.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi

from streamer.core.event import EventType
from streamer.core.event_schema import ANY_EVENT, event_definitions

if TYPE_CHECKING:
    from fastapi import FastAPI

_REF = "#/components/schemas/{name}"
_METHODS = ("get", "post", "put", "patch", "delete")
_NOT_OURS = ("HTTPValidationError", "ValidationError")

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "What went wrong. RFC 9457.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string", "description": "The status, in words."},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {
            "type": "string",
            "description": "What happened, what was expected, what was found, what to do.",
        },
    },
    "required": ["type", "title", "status", "detail"],
}

_PROBLEMS = {
    "400": "A cursor, duration or header that is none.",
    "401": "No token, or one that is not known, expired or revoked.",
    "403": "A token without the scope that this needs.",
    "404": "There is no such thing.",
    "422": "A parameter or body that is not as described here.",
    "429": "Too many requests or connections. `Retry-After` says when to try again.",
    "503": "Redis does not answer.",
    "default": "Any other error.",
}
_PUBLIC_PROBLEMS = {status: _PROBLEMS[status] for status in ("404", "422", "default")}


def describe_api(app: FastAPI) -> None:
    """Have the app's document complete. It is made when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _document(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(
        title=app.title,
        version=app.version,
        description="Events of live cameras, as CloudEvents. Their messages over time are in "
        "`/asyncapi.json`, their schemas in `/schemas/`.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=app.routes,
    )
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for name in _NOT_OURS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    schemas.update(event_definitions(_REF))
    schemas[ANY_EVENT] = {
        "title": "An event",
        "description": "A CloudEvents 1.0 object.",
        "oneOf": [{"$ref": _REF.format(name=type.value)} for type in EventType],
        "discriminator": {
            "propertyName": "type",
            "mapping": {type.value: _REF.format(name=type.value) for type in EventType},
        },
    }
    for path, methods in made["paths"].items():
        statuses = _PROBLEMS if path.startswith("/v1/") else _PUBLIC_PROBLEMS
        for method in _METHODS:
            if method in methods:
                _add_problems(methods[method], statuses)
    return made


def _add_problems(operation: dict[str, Any], statuses: dict[str, str]) -> None:
    responses = operation.setdefault("responses", {})
    content = {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    for status, description in statuses.items():
        said = responses.get(status, {}).get("description", description)
        if said == "Validation Error":
            said = description
        responses[status] = {"description": said, "content": content}
