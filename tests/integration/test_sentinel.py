"""The data plane behind a sentinel: the primary changes, the client follows."""

from __future__ import annotations

import time
from urllib.parse import quote

import pytest

from streamer.core.errors import TransportError
from streamer.transport.connection import Threads, call, connect, reconnect
from streamer.transport.keys import Keys
from tests.sentinel import PASSWORD, SERVICE, EmbeddedSentinel

PATIENCE_SECONDS = 20.0


@pytest.fixture
def sentinel():
    with EmbeddedSentinel() as sentinel:
        yield sentinel


def url_of(sentinel, *, password=PASSWORD, service=SERVICE):
    # The first sentinel is down.
    hosts = f"127.0.0.1:1,127.0.0.1:{sentinel.port}"
    return f"redis+sentinel://:{quote(password, safe='')}@{hosts}/{service}"


@pytest.mark.parametrize("change", [EmbeddedSentinel.fail_over, EmbeddedSentinel.kill_primary])
def test_clients_follow_the_primary(sentinel, change):
    lease = Keys(1).lease(0)
    clients = [connect(url_of(sentinel), threads=threads) for threads in Threads]
    for client in clients:
        generation = call(client, "acquire", [lease], "a", 60_000, 0)
    assert clients[0].wait(1, 2000) == 1
    old = sentinel.primary
    change(sentinel)
    assert sentinel.primary is not old
    for client in clients:
        reconnect(client)
        assert insist(lambda c=client: call(c, "acquire", [lease], "a", 60_000, 0)) == generation
        port = int(client.config_get("port")["port"])
        assert sentinel.servers[port] is sentinel.primary
        client.close()


def insist(step):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return step()
        except TransportError as error:
            if not error.retryable or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_errors_name_the_service_and_no_password(sentinel):
    with pytest.raises(TransportError, match="No master found for 'other'") as caught:
        connect(url_of(sentinel, service="other"))
    assert caught.value.retryable
    with pytest.raises(TransportError) as caught:
        connect(url_of(sentinel, password="s3cret"))
    assert "s3cret" not in str(caught.value)
