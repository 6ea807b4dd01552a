"""Servers with a TCP port on loopback, for those that others must reach by an address."""

from __future__ import annotations

import os
import random
import socket
import time
from typing import TYPE_CHECKING

import redis

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS = 20.0

# These and the bus ports lie below the ephemeral ones. Each process of a parallel run has a share.
_NUM_SHARES = 12
_SHARE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _NUM_SHARES
_PORTS = range(10_000 + _SHARE, 22_000, _NUM_SHARES)
_BUS_OFFSET = 10_000


def bus_port(port: int) -> int:
    """Where the nodes of a cluster speak to the one with that port."""
    return port + _BUS_OFFSET


def free_port(*, bus: bool = False) -> int:
    """A TCP port that nobody uses, nor the cluster's bus port that goes with it."""
    for _ in range(1_000):
        port = random.choice(_PORTS)
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                if bus:
                    second.bind(("127.0.0.1", bus_port(port)))
            except OSError:
                continue
            return port
    raise OSError("no free ports")


def wait_for(reached: Callable[[], bool], what: str) -> None:
    """Until a state is reached."""
    deadline = time.monotonic() + START_SECONDS
    while not reached():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not ready")
        time.sleep(0.02)


def listening(port: int) -> dict[str, str]:
    """What makes a server listen there."""
    return {"port": str(port), "bind": "127.0.0.1"}


def connected(port: int, *, password: str | None = None) -> redis.Redis:
    """A connection to the server there and no other, closed with the garbage."""
    return redis.Redis(
        port=port, password=password, decode_responses=True, protocol=2, socket_timeout=5
    )
