"""A connection that was lost is never replaced without a word."""

from __future__ import annotations

import pytest

from streamer.core.errors import TransportError
from streamer.transport.connection import Threads, call, connect, reconnect
from streamer.transport.keys import Keys
from tests.servers import CLUSTER, SERVERS, serving


@pytest.mark.parametrize("threads", Threads)
@pytest.mark.parametrize("kind", [*SERVERS, CLUSTER])
def test_a_connection_that_broke_while_idle_is_told_of_once(kind, threads, request):
    key = Keys(1).members("temporal")
    with serving(kind, request) as server:
        client, killer = connect(server.url, threads=threads), connect(server.url)
        call(client, "join", [key], "a", 1000)
        killer.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        with pytest.raises(TransportError, match=r"join: (Connection closed|Error 32)") as raised:
            call(client, "join", [key], "a", 1000)
        assert raised.value.retryable
        reconnect(client)
        assert call(client, "join", [key], "a", 1000) == [b"a"]
        reconnect(client)  # meant, and so not a loss
        assert call(client, "join", [key], "a", 1000) == [b"a"]
        client.close()
        killer.close()
