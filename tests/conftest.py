from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.transport.embedded import EmbeddedValkey
from tests.cameras import numbered_clip, start_rtsp_server
from tests.cluster import EmbeddedCluster
from tests.gateways import TOKEN

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cluster", "numbered_clip", "start_rtsp_server", "valkey"]

# The models of tests are too small for threads, which wait for one another on a busy host. Read by
# torch when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The commands that tests start inherit what SIGINT does, and a shell without a terminal starts
# its background jobs, perhaps these tests, with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def runs_apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where runs have their folders, and no other run of this user is in sight.

    A short path, whatever the folder for the tests' files: a socket's has at most 107 bytes.
    """
    with tempfile.TemporaryDirectory(prefix="streamer-test-", dir="/tmp") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder)


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
