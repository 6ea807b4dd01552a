from __future__ import annotations

import pytest

from streamer.transport.embedded import EmbeddedValkey


@pytest.fixture
def valkey():
    """A server of its own."""
    with EmbeddedValkey() as server:
        yield server
