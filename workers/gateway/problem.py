"""Errors as problem documents. Reference: RFC 9457."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from streamer.core.errors import ConfigError, TransportError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request


PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong, as a problem document (RFC 9457).",
        "content": {
            "application/problem+json": {
                "schema": {
                    "type": "object",
                    "required": ["type", "title", "status", "detail"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                    },
                }
            }
        },
    }
}
"""For the OpenAPI document: how every error is answered."""


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


def answer_with_problems(app: FastAPI) -> None:
    """Have every error of the app answered with a problem document."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ConfigError, _refused)
    app.add_exception_handler(TransportError, _away)
    app.add_exception_handler(Exception, _bug)


async def _invalid(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    details = [
        f"{'.'.join(str(part) for part in problem['loc'][1:])}: {problem['msg']}"
        for problem in error.errors()
    ]
    return ProblemResponse(422, "; ".join(details))


async def _http(_request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    return ProblemResponse(error.status_code, str(error.detail), error.headers)


async def _refused(_request: Request, error: Exception) -> ProblemResponse:
    return ProblemResponse(400, str(error))


async def _away(_request: Request, error: Exception) -> ProblemResponse:
    return ProblemResponse(503, str(error), {"Retry-After": "1"})


async def _bug(_request: Request, _error: Exception) -> ProblemResponse:
    return ProblemResponse(500, "the gateway failed to answer this; its log says why")
