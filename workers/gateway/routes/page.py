"""`/`: the live page. Plain files, read once, checked by digest; nothing comes from elsewhere."""

from __future__ import annotations

import mimetypes
from hashlib import blake2b
from importlib import resources
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Response
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from workers.gateway.context import Context

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)

_HEADERS = {
    "Cache-Control": "no-cache",  # kept, and asked for by digest
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_TYPES = {".js": "text/javascript", ".svg": "image/svg+xml", ".webmanifest": "application/json"}


class _Asset:
    def __init__(self, name: str, body: bytes) -> None:
        suffix = name[name.rfind(".") :]
        self.media_type = _TYPES.get(suffix) or mimetypes.guess_type(name)[0] or "text/plain"
        self.body = body
        self.etag = f'"{blake2b(body, digest_size=12).hexdigest()}"'

    def answer(self, if_none_match: str | None) -> Response:
        headers = {**_HEADERS, "ETag": self.etag}
        if if_none_match is not None and self.etag in if_none_match:
            return Response(status_code=304, headers=headers)
        return Response(self.body, media_type=self.media_type, headers=headers)


def page_router(_: Context) -> APIRouter:
    """The routes."""
    router = APIRouter(include_in_schema=False)
    folder = resources.files("workers.gateway") / "web"
    assets = {file.name: _Asset(file.name, file.read_bytes()) for file in folder.iterdir()}

    @router.api_route("/", methods=["GET", "HEAD"])
    async def page(if_none_match: Annotated[str | None, Header()] = None) -> Response:
        return assets["index.html"].answer(if_none_match)

    @router.api_route("/web/{name}", methods=["GET", "HEAD"])
    async def asset(name: str, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        if name not in assets:
            raise HTTPException(404, f"page: no file {name!r}")
        return assets[name].answer(if_none_match)

    return router
