from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.samples import event
from tests.servers import SERVERS, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.transport.embedded import EmbeddedValkey


@pytest.fixture(params=SERVERS)
def valkey(request) -> Iterator[EmbeddedValkey]:
    """A server of its own, of each kind."""
    with running(request.param) as server:
        yield server


@pytest.fixture
def make_event():
    """An event of a number."""

    return event
