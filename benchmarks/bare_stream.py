"""The least a server of event streams can do: read the log, write the same bytes to everyone.

No framework, no filter, no resuming, no bound: the floor that the gateway is compared with.
`python -m benchmarks.bare_stream REDIS_URL` prints its port.
"""

from __future__ import annotations

import asyncio
import socket
import sys

import redis.asyncio

from streamer.transport.keys import Keys

_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    b"event: live\ndata: {}\n\n"
)


async def serve(url: str) -> None:
    clients: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        writer.write(_HEAD)
        clients.add(writer)
        await reader.read()
        clients.discard(writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    key, place = Keys().events(0), "$"
    async with redis.asyncio.from_url(url) as client:
        while True:
            for _, rows in await client.xread({key: place}, block=1000) or []:
                for entry_id, fields in rows:
                    place = entry_id.decode()
                    message = b"id: %s\nevent: %s\ndata: %s\n\n" % (
                        entry_id,
                        fields[b"type"],
                        fields[b"event"],
                    )
                    for writer in clients:
                        writer.write(message)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
