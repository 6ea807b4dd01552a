from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamer.transport.embedded import EmbeddedValkey
from tests.cameras import numbered_clip, start_rtsp_server

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["numbered_clip", "start_rtsp_server", "valkey"]


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A server of its own."""
    with EmbeddedValkey() as server:
        yield server
