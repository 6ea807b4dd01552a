from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from streamer.transport.connection import connect
from streamer.transport.embedded import EmbeddedValkey
from tests.plant import Plant

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedValkey]:
    """A server that the tests of a file share."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture
def plant(server: EmbeddedValkey) -> Iterator[Plant]:
    """A stream on it, and nothing else."""
    with contextlib.closing(connect(server.url)) as client:
        client.flushdb()
        yield Plant(client)
