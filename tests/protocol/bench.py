"""Where the protocol is tried: one server, the connections to it, and who uses which."""

from __future__ import annotations

from streamer.transport.keys import Keys
from tests.protocol.wires import Server, Wire

KEYS = Keys(2)
STREAMS = ("cam0", "cam1", "cam2")
"""The first two are of partition 0, the last of 1."""
ENCODERS = {"x": ("cam0", "cam2"), "y": ("cam1",)}
WORKERS = ("a", "b", "c")


class Bench:
    """The server and the connections to it, for all examples.

    Args:
        url: The server's.
    """

    def __init__(self, url: str) -> None:
        self.server = Server(url)
        self.wires = {name: Wire(self.server, url) for name in (*ENCODERS, *WORKERS, "camera")}

    def clear(self) -> None:
        self.server.clear()
        for wire in self.wires.values():
            wire.reset()

    def close(self) -> None:
        for wire in self.wires.values():
            wire.client.close()
        self.server.client.close()


class Deaf:
    """An observer that takes no note."""

    def observe(self, record: object) -> None:
        pass
