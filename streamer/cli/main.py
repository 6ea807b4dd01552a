"""The command `streamer`: from the first import on, an interruption ends it quietly."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 asked wrongly, 130 interrupted."""
    # A shell without a terminal starts its background jobs with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from streamer.cli.app import app
    from streamer.core.errors import ConfigError, StreamerError
    from streamer.runtime.supervisor import WorkerFailed

    try:
        app()
    except StreamerError as error:
        print(f"streamer: {error}", file=sys.stderr)
        code = error.exit_code if isinstance(error, WorkerFailed) else 1
        sys.exit(2 if isinstance(error, ConfigError) else code)


if __name__ == "__main__":
    main()
