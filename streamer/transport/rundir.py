"""A folder of one run: sockets, logs, settings. Only its user can enter, and a crash leaves none.

Its owner holds a lock in it for life; whoever makes the next one removes those nobody holds. What
another program finds by a pattern lies beside the folder, under the same name, and goes with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from streamer.core.errors import TransportError

_LOCK = "lock"
_PREFIX = "run-"
_TARGETS_PREFIX = "targets-"


def runtime_directory() -> Path:
    """Where this user's runs have their folders."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "streamer"
    return Path(tempfile.gettempdir()) / f"streamer-{os.getuid()}"


def targets_path(directory: Path) -> Path:
    """Where the run with this folder says which metrics ports it has.

    Beside the folder: Prometheus takes a `*` in the last part of a path only.
    """
    return directory.parent / f"{_TARGETS_PREFIX}{directory.name.removeprefix(_PREFIX)}.json"


class RunDirectory:
    """Exists until it is closed.

    Attributes:
        path: The folder.

    Raises:
        TransportError: The place for such folders is another user's.
    """

    def __init__(self) -> None:
        base = runtime_directory()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        if base.stat().st_uid != os.getuid():
            raise TransportError(
                f"{base}: expected a folder of this user, found another's; remove it or set "
                "XDG_RUNTIME_DIR",
                retryable=False,
            )
        _sweep(base)
        nameless = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=base))
        # It gets its name only when it is locked: a sweeper would take it for a dead one.
        self._lock = (nameless / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = nameless.rename(base / nameless.name.removeprefix("."))

    def close(self) -> None:
        """Remove it. Idempotent."""
        targets_path(self.path).unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(base: Path) -> None:
    """Remove folders whose owner is gone: nobody holds their lock."""
    for directory in base.glob(f"{_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError), (directory / _LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            targets_path(directory).unlink(missing_ok=True)
            shutil.rmtree(directory, ignore_errors=True)
