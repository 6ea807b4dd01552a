"""Servers that the contracts are run over."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from streamer.transport.embedded import EmbeddedValkey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster import EmbeddedCluster

SERVERS = ("valkey", "redis")
CLUSTER = "cluster"


def binary_of(kind: str) -> str | None:
    """Debian's Redis 7; None is the Valkey in the package."""
    if kind == "valkey":
        return None
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "there is no redis-server; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return binary


def running(kind: str) -> EmbeddedValkey:
    """The embedded Valkey, or Debian's Redis 7; to be entered."""
    return EmbeddedValkey(binary=binary_of(kind))


@contextlib.contextmanager
def serving(
    kind: str, request: pytest.FixtureRequest
) -> Iterator[EmbeddedValkey | EmbeddedCluster]:
    """As `running`; or the session's cluster, without keys."""
    if kind != CLUSTER:
        with running(kind) as server:
            yield server
        return
    cluster: EmbeddedCluster = request.getfixturevalue("cluster")
    cluster.flush()
    yield cluster
