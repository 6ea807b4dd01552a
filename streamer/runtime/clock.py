"""The system's clocks."""

from __future__ import annotations

import time
from hashlib import blake2b
from pathlib import Path

from streamer.core.clock import Mark


class SystemClock:
    """UTC, and CLOCK_MONOTONIC: one clock for all processes of a host.

    The domain names the boot and the time namespace, within which the monotonic clock is one.
    """

    def __init__(self) -> None:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/time").readlink()
        self._domain = blake2b(f"{boot} {namespace}".encode(), digest_size=6).hexdigest()

    def utc_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()

    def mark(self) -> Mark:
        """Now, on the host's monotonic clock."""
        return Mark(self._domain, time.monotonic_ns())
