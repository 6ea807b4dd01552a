"""`python -m workers.gateway.probe`: reads one source, in a process that may be killed.

A source as JSON on stdin; what was found as JSON on stdout.
"""

from __future__ import annotations

import sys

import msgspec

from streamer.runtime.clock import SystemClock
from streamer.sources.probe import probe_source
from streamer.sources.spec import SourceSpec

READ_SECONDS = 1.0


def main() -> None:
    """Read, and print."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=SourceSpec)
    found = probe_source(spec, clock=SystemClock(), seconds=READ_SECONDS)
    sys.stdout.buffer.write(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
