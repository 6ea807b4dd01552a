"""Which program a server is."""

from __future__ import annotations

import os
import shutil

import pytest

from streamer.transport.embedded import _packaged_binary


def binary_of(kind: str) -> str:
    """`valkey`: the packaged one; `redis`: Debian's. A missing one skips, or fails in CI."""
    if kind == "valkey":
        return _packaged_binary()
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "there is no redis-server; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return binary
