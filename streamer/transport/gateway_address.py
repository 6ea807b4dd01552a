"""Where the gateway of a run is, and its token: a file that only the run's user can read."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import msgspec

from streamer.transport.rundir import runtime_directory

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "gateway.json"


class GatewayAddress(msgspec.Struct, frozen=True, kw_only=True):
    """A running gateway.

    Attributes:
        url: `http://HOST:PORT`.
        token: With all rights.
    """

    url: str
    token: str

    def __repr__(self) -> str:
        return f"GatewayAddress({self.url})"

    def write(self, directory: Path) -> Path:
        """Leave it in the folder of the run, for this user's other commands."""
        path = directory / _FILE
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123  # a descriptor, not a path
            file.write(msgspec.json.encode(self))
        return path


def running_gateways() -> list[GatewayAddress]:
    """Of all runs of this user, newest first."""
    found = []
    for path in runtime_directory().glob(f"run-*/{_FILE}"):
        # A run that has just ended, or is just beginning.
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            address = msgspec.json.decode(path.read_bytes(), type=GatewayAddress)
            found.append((path.stat().st_mtime, address))
    return [address for _, address in sorted(found, key=lambda pair: pair[0], reverse=True)]
