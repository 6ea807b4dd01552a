"""Whatever bytes arrive: an answer or a hang-up, never a fault, and the gateway goes on."""

from __future__ import annotations

import random
import signal
import socket

import httpx
import pytest

from streamer.transport.embedded import EmbeddedValkey
from tests.gateways import HEADERS, PATIENCE_SECONDS, TOKEN, Gateway, serving_events
from workers.gateway import protocol, shield

SEED = 20261121
NUM_MUTANTS = 400

REQUESTS = [
    f"GET /v1/events?since=0 HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n",
    f"GET /v1/streams HTTP/1.1\r\nHost: localhost\r\nCookie: streamer_session={TOKEN}\r\n\r\n",
    "POST /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    'Content-Length: 14\r\n\r\n{"token": "x"}',
    "POST /v1/session HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    'e\r\n{"token": "x"}\r\n0\r\n\r\n',
    "GET /v1/health HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
]
PIECES = [b"\r\n", b"\0", b"\xff\xfe", b": ", b"%00", b"%", b"HTTP/9.9", b"Host: x\r\n"]
PIECES += [b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n", b"\x16\x03\x01"]
PIECES += [b"Transfer-Encoding: chunked\r\n", b"Authorization: \xff\r\n", b"A" * 20_000]


def mutant(rng: random.Random) -> bytes:
    """A request with a few bytes changed, cut out, repeated or put in."""
    data = bytearray(rng.choice(REQUESTS).encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 1:
                del data[at : at + rng.randint(1, 20)]
            case 2:
                data[at:at] = rng.choice(PIECES)
            case _:
                data[at:at] = data[at : at + rng.randint(1, 40)]
        if not data:
            break
    return bytes(data)


def exchange(port: int, data: bytes) -> bytes:
    """Send it, say that it was all, and read the beginning of what comes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096)
        except (ConnectionResetError, BrokenPipeError):
            return b""  # it hung up while we were sending


@pytest.fixture(scope="module")
def server():
    with EmbeddedValkey() as server:
        yield server


def test_mutants_of_requests(server):
    settings = ["gateway.failures_per_minute=100000", "gateway.requests_per_minute=100000"]
    gateway = Gateway(server.url, settings=settings)
    port = gateway.ready().port
    rng = random.Random(SEED)
    statuses = set()
    for number in range(NUM_MUTANTS):
        data = mutant(rng)
        answer = exchange(port, data)
        if answer:
            assert answer.startswith(b"HTTP/1.1 "), (number, data)
            statuses.add(int(answer[9:12]))
            # 501: a transfer encoding that it does not know.
            assert int(answer[9:12]) in (*range(200, 500), 501), (number, data)
    assert {200, 400, 401} <= statuses
    url = f"http://127.0.0.1:{port}"
    assert httpx.get(f"{url}/v1/streams", headers=HEADERS).status_code == 200
    gateway.process.send_signal(signal.SIGTERM)
    code, said = gateway.end()
    gateway.close()
    assert code == 0
    assert "Traceback" not in said, said
    assert TOKEN not in said


def test_malformed_requests_are_answered_with_problems(server):
    with serving_events(server.url) as url:
        port = int(url.rpartition(":")[2])
        for data, status in ((b"nonsense\r\n\r\n", b"400"), (b"GET /" + b"x" * 40_000, b"431")):
            answer = exchange(port, data)
            assert answer.startswith(b"HTTP/1.1 " + status), answer
            assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    "begun", [b"", b"GET /v1/health HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n"]
)
def test_a_request_that_does_not_come_is_not_waited_for(server, monkeypatch, begun):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with serving_events(server.url) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as silent:
            silent.sendall(begun)
            assert silent.recv(1) == b""


def test_a_second_request_is_due_in_time_too(server, monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.2)
    with serving_events(server.url) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as slow:
            slow.sendall(b"GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += slow.recv(4096)
            slow.sendall(b"GET /v1/hea")
            assert slow.recv(4096) == b""


def test_a_body_that_does_not_come_is_not_waited_for(server, monkeypatch):
    monkeypatch.setattr(shield, "BODY_SECONDS", 0.2)
    with serving_events(server.url) as url:
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as slow:
            slow.sendall(
                b"POST /v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
            )
            assert slow.recv(4096).startswith(b"HTTP/1.1 408")


def test_an_open_event_stream_outlives_these_deadlines(server, monkeypatch):
    monkeypatch.setattr(protocol, "REQUEST_SECONDS", 0.05)
    with (
        serving_events(server.url) as url,
        httpx.stream("GET", f"{url}/v1/events", headers=HEADERS) as answer,
    ):
        lines = answer.iter_lines()
        assert "event: live" in [next(lines) for _ in range(6)]
        # Much later than the deadline, it still answers others, and us.
        for _ in range(20):
            assert httpx.get(f"{url}/v1/health", headers=HEADERS).json()["clients"] == 1
