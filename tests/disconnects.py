"""Clients that are cut off at random, again and again: does each have the whole log in the end?

`python -m tests.disconnects --disconnects 10000` runs it in full. Server-sent events and
WebSockets, the real gateway, real sockets: closed, reset, or left in the middle of a message or a
handshake.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import h11
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import WebSocketException

from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from tests.eventlog import append, log, make_event
from tests.gateways import HEADERS, Gateway

if TYPE_CHECKING:
    import redis

MAX_BYTES = 20_000
"""A client that reads server-sent events is cut off after so many at most."""

MAX_SECONDS = 0.5
"""A connection lives so long at most."""

MAX_FRAMES = 20
SETTINGS = ("gateway.requests_per_minute=1000000", "gateway.connections_per_token=10000")
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Client:
    """One client: what it has, and where it resumes."""

    rng: random.Random
    events: list[tuple[str, str]] = field(default_factory=list)
    last_id: str | None = None
    is_live: bool = False
    disconnects: int = 0
    others: set[str] = field(default_factory=set)

    @property
    def where(self) -> tuple[str, dict[str, str]]:
        """Query and header to go on with."""
        if self.last_id is None:
            return "?since=0", {}
        return "", {"Last-Event-ID": self.last_id}

    def take(self, event: str, id: str | None, data: str) -> None:
        """A message."""
        if event.startswith("streamer."):
            assert id is not None
            self.events.append((id, json.loads(data)["id"]))
        elif event == "live":
            self.is_live = True
        elif event not in ("hello", "heartbeat", "message"):
            self.others.add(event)
        self.last_id = id or self.last_id


class Messages:
    """Server-sent events out of bytes that are cut anywhere; what is incomplete does not count."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._text = b""

    def feed(self, data: bytes) -> None:
        """More bytes."""
        *whole, self._text = (self._text + data).split(b"\n\n")
        for text in whole:
            fields = dict(
                line.split(": ", 1) for line in text.decode().splitlines() if line[0] != ":"
            )
            event = fields.get("event", "message")
            self._client.take(event, fields.get("id"), fields.get("data", ""))


async def read_stream(client: Client, port: int, *, until_live: bool) -> None:
    """One connection of server-sent events, cut off after some bytes or seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    query, headers = client.where
    connection = h11.Connection(h11.CLIENT)
    head = [("Host", f"127.0.0.1:{port}"), *HEADERS.items(), *headers.items()]
    request = h11.Request(method="GET", target=f"/v1/events{query}", headers=head)
    num_left = sys.maxsize if until_live else client.rng.randrange(MAX_BYTES)
    messages = Messages(client)
    client.is_live = False
    try:
        writer.write(
            (connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b"")
        )
        async with asyncio.timeout(None if until_live else client.rng.random() * MAX_SECONDS):
            while num_left > 0 and not (until_live and client.is_live):
                data = await reader.read(min(num_left, 65_536))
                assert data, "the gateway hung up"
                num_left -= len(data)
                connection.receive_data(data)
                while isinstance(event := connection.next_event(), h11.Response | h11.Data):
                    if isinstance(event, h11.Data):
                        messages.feed(bytes(event.data))
                    else:
                        assert event.status_code == 200, event
    except TimeoutError:
        pass
    finally:
        if client.rng.random() < 0.5:
            plug: socket.socket = writer.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        writer.transport.abort()


async def read_frames(client: Client, port: int, *, until_live: bool) -> None:
    """One WebSocket, cut off after some frames or seconds."""
    query, headers = client.where
    num_left = sys.maxsize if until_live else client.rng.randrange(MAX_FRAMES)
    client.is_live = False
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None if until_live else client.rng.random() * MAX_SECONDS):
            async with connect_websocket(
                f"ws://127.0.0.1:{port}/v1/events/ws{query}",
                additional_headers=HEADERS | headers,
                compression=None,
                open_timeout=None,
            ) as connection:
                try:
                    while num_left > 0 and not (until_live and client.is_live):
                        frame = json.loads(await connection.recv())
                        client.take(frame["event"], frame["id"], json.dumps(frame["data"]))
                        num_left -= 1
                finally:
                    connection.transport.abort()


async def campaign(port: int, redis_client: redis.Redis, *, disconnects: int, seed: int,
                   num_clients: int, events_per_second: float) -> list[Client]:  # fmt: skip
    """Cut clients off so many times, all together, while events are written; then let them finish.

    Args:
        port: Of the gateway.
        redis_client: Where events are written.
        disconnects: How many times.
        seed: Of all that is random.
        num_clients: Every other one is a WebSocket.
        events_per_second: Written meanwhile.
    """
    clients = [Client(random.Random(f"{seed}/{number}")) for number in range(num_clients)]
    left = disconnects
    stop = asyncio.Event()

    async def write() -> None:
        rng = random.Random(seed)
        number = 0
        while not stop.is_set():
            count = rng.randint(1, 5)
            events = [make_event(number + n, stream=f"cam{n}") for n in range(count)]
            await asyncio.to_thread(append, redis_client, events)
            number += count
            await asyncio.sleep(rng.expovariate(events_per_second / 3))

    async def suffer(number: int, client: Client) -> None:
        nonlocal left
        read = read_frames if number % 2 else read_stream
        while left > 0:
            left -= 1
            client.disconnects += 1
            with contextlib.suppress(ConnectionError, WebSocketException):
                await read(client, port, until_live=False)

    writing = asyncio.create_task(write())
    await asyncio.gather(*(suffer(number, client) for number, client in enumerate(clients)))
    stop.set()
    await writing
    for number, client in enumerate(clients):
        read = read_frames if number % 2 else read_stream
        await read(client, port, until_live=True)
    return clients


def run(
    *, disconnects: int, seed: int, num_clients: int = 40, events_per_second: float = 40
) -> tuple[list[Client], list[tuple[str, str]]]:
    """The clients in the end, and the log: (entry id, event id) in order."""
    with EmbeddedValkey() as server:
        client = connect(server.url)
        gateway = Gateway(server.url, settings=SETTINGS)
        try:
            port = gateway.ready().port
            clients = asyncio.run(
                campaign(
                    port,
                    client,
                    disconnects=disconnects,
                    seed=seed,
                    num_clients=num_clients,
                    events_per_second=events_per_second,
                )
            )
            return clients, log(client)
        finally:
            gateway.close()
            client.close()


def main() -> int:
    """Run it, say what was found; 1 if a client lacks an event or has one twice."""
    parser = argparse.ArgumentParser(prog="python -m tests.disconnects")
    parser.add_argument("--disconnects", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun = time.monotonic()
    clients, entries = run(disconnects=options.disconnects, seed=options.seed)
    wrong = [number for number, client in enumerate(clients) if client.events != entries]
    done = sum(client.disconnects for client in clients)
    others = set().union(*(client.others for client in clients))
    print(  # noqa: T201  # it is a command
        f"{done} disconnects of {len(clients)} clients, {len(entries)} events, "
        f"{time.monotonic() - begun:.0f} s, seed {options.seed}: "
        f"{len(wrong)} clients differ from the log; other messages: {sorted(others) or 'none'}"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
