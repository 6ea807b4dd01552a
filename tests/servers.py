"""Servers that the contracts are run over."""

from __future__ import annotations

import os
import shutil

import pytest

from streamer.transport.embedded import EmbeddedValkey

SERVERS = ("valkey", "redis")


def running(kind: str) -> EmbeddedValkey:
    """The embedded Valkey, or Debian's Redis 7; to be entered."""
    if kind == "valkey":
        return EmbeddedValkey()
    binary = shutil.which("redis-server")
    if binary is None:
        reason = "there is no redis-server; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return EmbeddedValkey(binary=binary)
