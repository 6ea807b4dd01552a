"""What routes require, on an app with one route of each kind: reading, writing, a socket."""

from __future__ import annotations

import asyncio
import threading
from socket import create_connection
from typing import Annotated

import pytest
import uvicorn
from fastapi import FastAPI, WebSocket
from httpx import request
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect as connect_socket

from streamer.transport.connection import connect
from streamer.transport.keys import Keys
from streamer.transport.tokens import Scope, TokenStore
from workers.gateway.access import Access
from workers.gateway.auth import Grant, Principal, holding, require
from workers.gateway.limits import RateLimits
from workers.gateway.problem import answer_with_problems
from workers.gateway.protocol import GatewayProtocol
from workers.gateway.shield import Shield

SCOPES = {"/read": Scope.EVENTS_READ, "/write": Scope.STREAMS_WRITE, "/admin": Scope.ADMIN}


def make_app(store: TokenStore, seen: list[str]) -> FastAPI:
    app = FastAPI()
    rates = RateLimits(requests_per_minute=1_000, failures_per_minute=1_000)
    app.state.access = Access(store, run_token="secret", rates=rates, connections_per_token=1)
    answer_with_problems(app)

    @app.get("/read")
    async def read(principal: Annotated[Principal, require(Scope.EVENTS_READ)]) -> str:
        return principal.name

    @app.post("/write", dependencies=[require(Scope.STREAMS_WRITE)])
    async def write() -> str:
        seen.append("write")
        return "done"

    @app.post("/admin", dependencies=[require(Scope.ADMIN)])
    async def administer() -> str:
        seen.append("admin")
        return "done"

    @app.websocket("/socket")
    async def socket(
        websocket: WebSocket, grant: Annotated[Grant, holding(Scope.EVENTS_READ)]
    ) -> None:
        await websocket.accept()
        ended = asyncio.Event()
        grant.on_end(ended.set)
        await websocket.send_text(grant.principal.name)
        await ended.wait()
        await websocket.close(1008, str(grant.end))

    return app


class _Server(uvicorn.Server):
    started_here = None

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        self.started_here.set()


@pytest.fixture
def seen():
    return []


@pytest.fixture
def store(valkey):
    client = connect(valkey.url)
    yield TokenStore(client, keys=Keys())
    client.close()


@pytest.fixture
def address(store, seen):
    app = make_app(store, seen)

    async def serve() -> None:
        refresher = asyncio.create_task(app.state.access.run())
        await server.serve()
        refresher.cancel()

    shield = Shield(app, hosts=frozenset(), max_body_bytes=1_000, max_header_bytes=10_000)
    config = uvicorn.Config(
        shield,
        port=0,
        http=GatewayProtocol,
        log_config=None,
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    server.started_here = threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert server.started_here.wait(10)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.mark.parametrize("path", SCOPES)
@pytest.mark.parametrize("granted", Scope)
def test_scopes(address, store, seen, path, granted):
    token = store.create("bob", [granted], now_ns=1)
    entry = store.read()[0]["bob"]
    method = "GET" if path == "/read" else "POST"
    answer = request(
        method, f"http://{address}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    if entry.allows(SCOPES[path]):
        assert answer.status_code == 200
        return
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == (
        f"expected a token with scope {SCOPES[path]}, found {granted}"
    )
    assert f'scope="{SCOPES[path]}"' in answer.headers["www-authenticate"]
    assert not seen


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer"])
def test_the_scheme_has_no_case(address, scheme):
    answer = request("GET", f"http://{address}/read", headers={"Authorization": f"{scheme} secret"})
    assert answer.json() == "run"


def cookie(address: str) -> dict[str, str]:
    return {"Cookie": f"streamer_session_{address.rpartition(':')[2]}=secret"}


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://{}", 200),
        ("https://{}", 200),
        ("HTTP://{}", 200),
        ("http://{}.evil.example", 403),
        ("http://evil.example", 403),
        ("http://localhost:1", 403),
        ("null", 403),
        ("", 403),
        (None, 403),
    ],
)
def test_a_cookie_changes_something_only_from_the_own_page(address, seen, origin, status):
    headers = cookie(address)
    if origin is not None:
        headers["Origin"] = origin.format(address)
    answer = request("POST", f"http://{address}/write", headers=headers)
    assert answer.status_code == status
    assert seen == ["write"] * (status == 200)
    # Reading needs none: a browser sends none then.
    assert request("GET", f"http://{address}/read", headers=cookie(address)).json() == "run"


def test_a_token_needs_no_origin(address, seen):
    headers = {"Authorization": "Bearer secret", "Origin": "http://evil.example"}
    assert request("POST", f"http://{address}/write", headers=headers).status_code == 200
    assert seen == ["write"]


def test_a_header_goes_before_the_cookie(address):
    headers = {"Authorization": "Bearer wrong", **cookie(address)}
    assert request("GET", f"http://{address}/read", headers=headers).status_code == 401


class TestSocket:
    """WebSockets are refused by an HTTP answer, before they are open."""

    @pytest.mark.parametrize(
        ("headers", "origin", "status"),
        [
            ({}, None, 401),
            ({"Authorization": "Bearer wrong"}, None, 401),
            ("cookie", None, 403),
            ("cookie", "http://evil.example", 403),
        ],
    )
    def test_refused(self, address, headers, origin, status):
        headers = cookie(address) if headers == "cookie" else headers
        with (
            pytest.raises(InvalidStatus) as caught,
            connect_socket(
                f"ws://{address}/socket", origin=origin, additional_headers=headers, proxy=None
            ),
        ):
            pass
        answer = caught.value.response
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-content-type-options"] == "nosniff"

    def test_a_name_that_was_made_to_point_here(self, address):
        host, _, port = address.partition(":")
        with (
            pytest.raises(InvalidStatus) as caught,
            create_connection((host, port)) as connection,
            connect_socket("ws://evil.example/socket", sock=connection, proxy=None),
        ):
            pass
        assert caught.value.response.status_code == 421

    def test_taken_and_ended(self, address, store):
        token = store.create("bob", [Scope.EVENTS_READ], now_ns=1)
        headers = {"Authorization": f"Bearer {token}"}
        with connect_socket(
            f"ws://{address}/socket", additional_headers=headers, proxy=None
        ) as first:
            assert first.recv(timeout=10) == "bob"
            with (
                pytest.raises(InvalidStatus) as caught,
                connect_socket(f"ws://{address}/socket", additional_headers=headers, proxy=None),
            ):
                pass
            assert caught.value.response.status_code == 429
            store.revoke("bob")
            with pytest.raises(ConnectionClosedError):
                first.recv(timeout=10)
            assert (first.close_code, first.close_reason) == (1008, "revoked")

    def test_the_own_page_with_its_cookie(self, address):
        with connect_socket(
            f"ws://{address}/socket",
            origin=f"http://{address}",
            additional_headers=cookie(address),
            proxy=None,
        ) as socket:
            assert socket.recv(timeout=10) == "run"
            socket.close()
