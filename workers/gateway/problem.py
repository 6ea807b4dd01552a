"""Errors as problem documents. Reference: RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

import structlog
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from streamer.core.errors import AccessDeniedError, ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from fastapi import FastAPI, Request


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        body = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
        }
        super().__init__(body, status_code=status, headers=headers)


def no_such_stream(stream_id: str) -> HTTPException:
    """404: nothing of this name is to be watched."""
    return HTTPException(404, f"{stream_id[:64]}: no such stream; GET /v1/streams lists them")


def answer_with_problems(app: FastAPI) -> None:
    """Have every error of the app answered with a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ConfigError, _refused)
    app.add_exception_handler(TransportError, _away)
    app.add_exception_handler(Exception, _bug)


async def _invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    problems = error.errors()
    for problem in problems:
        if problem["type"] == "json_invalid":
            found = f"none ({problem['ctx']['error']} at character {problem['loc'][-1]})"
            return ProblemResponse(400, f"body: expected JSON, found {found}")
    if any(problem["loc"] == ("body",) and problem["type"] != "missing" for problem in problems):
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            detail = "expected JSON with `Content-Type: application/json`, found another type"
            return ProblemResponse(415, detail)
    return ProblemResponse(422, "; ".join(map(_told, problems)))


def _told(problem: Mapping[str, Any]) -> str:
    where, *path = problem["loc"]
    said = problem["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, path)) or where}: {said}"


async def _http(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    return ProblemResponse(error.status_code, str(error.detail), error.headers)


async def _refused(_request: Request, error: Exception) -> ProblemResponse:
    return ProblemResponse(400, str(error))


async def _away(_request: Request, error: Exception) -> ProblemResponse:
    if isinstance(error, AccessDeniedError):
        # What the gateway's own user lacks is for its operator.
        structlog.get_logger().error("denied", error=str(error))
        detail = "Redis does not let the gateway do this; its log says which permission it lacks"
        return ProblemResponse(503, detail)
    return ProblemResponse(503, str(error), {"Retry-After": "1"})


async def _bug(_request: Request, _error: Exception) -> ProblemResponse:
    return ProblemResponse(500, "the gateway failed to answer this; its log says why")
