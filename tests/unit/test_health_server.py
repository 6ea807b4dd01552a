"""The server of metrics and probes, and clients that hang."""

from __future__ import annotations

import http.client
import socket

import pytest
from prometheus_client import CollectorRegistry, Gauge

from streamer.runtime import health
from streamer.runtime.health import Health, HealthServer


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(health._QuietHandler, "timeout", 0.2)
    registry = CollectorRegistry()
    Gauge("thing", "A thing.", registry=registry)
    with HealthServer(Health(), registry, host="127.0.0.1", port=0) as server:
        yield server


def test_a_client_that_sends_nothing_is_hung_up_on_without_a_word(server, capfd):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        client.sendall(b"GET /metr")
        assert client.recv(64) == b""
    assert capfd.readouterr().err == ""


def test_many_that_hang_leave_room_for_one_that_asks(server):
    hanging = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(100)]
    try:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/metrics")
        assert b"thing 0.0" in connection.getresponse().read()
        connection.close()
    finally:
        for client in hanging:
            client.close()


def test_an_error_of_our_own_is_not_hidden(server, capfd, monkeypatch):
    def broken(environ, respond):
        raise ZeroDivisionError("broken")

    monkeypatch.setattr(server._server, "finish_request", broken)
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
        assert client.recv(64) == b""
    assert "ZeroDivisionError: broken" in capfd.readouterr().err
