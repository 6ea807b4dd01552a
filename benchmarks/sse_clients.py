"""Many readers of one event stream, in a process of their own: when did each event arrive?"""

from __future__ import annotations

import os
import re
import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.gateways import HEADERS

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

_COMMITTED = re.compile(rb'"emitted_ns":"([0-9]+)"')
_KEPT_BYTES = 64
_CONNECT_SECONDS = 30.0


@dataclass(slots=True)
class _Reader:
    """One connection, and the end of what it had, in case a number is cut in two."""

    tail: bytes = b""


@dataclass(slots=True)
class Heard:
    """What all readers heard.

    Attributes:
        ages_ms: From just before the commit to the arrival, one for each event and reader.
        ended: Readers whose connection ended.
    """

    ages_ms: list[float] = field(default_factory=list)
    ended: int = 0


def listen(
    pipe: Connection, port: int, *, path: str, readers: int, stalled: int, core: int
) -> None:
    """Connect, say so, measure between two words on the pipe, and answer with `Heard`.

    Args:
        pipe: `ready` goes out; `start` and `stop` come in; then `Heard` goes out.
        port: Of the server, on loopback.
        path: What is asked for.
        readers: Connections that are read at once.
        stalled: Connections that are never read after they are made.
        core: The processor to stay on.
    """
    os.sched_setaffinity(0, {core})
    stuck = [_connect(port, path, buffer_bytes=4096) for _ in range(stalled)]
    selector = selectors.EpollSelector()
    for _ in range(readers):
        connection = _connect(port, path)
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ, _Reader())
    selector.register(pipe, selectors.EVENT_READ, None)
    pipe.send("ready")
    heard = Heard()
    measuring = True
    while measuring:
        for key, _ in selector.select():
            if key.data is not None:
                _read(selector, key, heard)
            elif pipe.recv() == "start":
                heard = Heard()
            else:
                measuring = False
    pipe.send(heard)
    for connection in stuck:
        connection.close()


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, heard: Heard) -> None:
    connection = key.fileobj
    assert isinstance(connection, socket.socket)
    received = connection.recv(1 << 18)
    now_ns = time.time_ns()
    if not received:
        heard.ended += 1
        selector.unregister(connection)
        return
    text = key.data.tail + received
    end = 0
    for match in _COMMITTED.finditer(text):
        heard.ages_ms.append((now_ns - int(match[1])) / 1e6)
        end = match.end()
    key.data.tail = text[max(end, len(text) - _KEPT_BYTES) :]


def _connect(port: int, path: str, *, buffer_bytes: int | None = None) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(_CONNECT_SECONDS)
    if buffer_bytes is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    connection.connect(("127.0.0.1", port))
    head = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
    head += [f"{name}: {value}" for name, value in HEADERS.items()]
    connection.sendall(("\r\n".join(head) + "\r\n\r\n").encode())
    received = b""
    while b"event: live" not in received:
        more = connection.recv(4096)
        if not more:
            raise OSError(f"expected an event stream at {path}, found {received[:200]!r}")
        received += more
    return connection
