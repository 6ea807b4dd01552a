from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from streamer.transport.embedded import EmbeddedValkey
from tests.cameras import numbered_clip, start_rtsp_server
from tests.cluster import EmbeddedCluster
from tests.gateways import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cluster", "numbered_clip", "start_rtsp_server", "valkey"]


@pytest.fixture
def valkey() -> Iterator[EmbeddedValkey]:
    """A server of its own."""
    with EmbeddedValkey() as server:
        yield server


@pytest.fixture(scope="session")
def cluster() -> Iterator[EmbeddedCluster]:
    """Three masters that all tests share; nobody may kill one."""
    with EmbeddedCluster() as cluster:
        yield cluster


@pytest.fixture
def gateway_token(monkeypatch: pytest.MonkeyPatch) -> str:
    """The token of the gateways that tests start; clients find it in their environment."""
    monkeypatch.setenv("STREAMER_TOKEN", TOKEN)
    return TOKEN
