"""Clock jumps: processes whose UTC clock is moved while they run.

By a preloaded library of our own, and not by libfaketime 0.9.10 (Debian 12): under that one
`time.sleep` of Python 3.11 fails with EINVAL, and a server with jemalloc hangs before it starts.
"""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

JUMPS_SECONDS = (-600.0, 0.0, 600.0)
"""From the true time. From one to another a clock jumps by up to twice as much."""

_SOURCE = Path(__file__).with_name("skew.c")


def build_library(folder: Path) -> Path:
    """Compile the library. Without a compiler the test is skipped, or fails in CI."""
    compiler = shutil.which("cc")
    if compiler is None:
        reason = "there is no C compiler; install Debian's gcc"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    path = folder / "skew.so"
    subprocess.run(
        [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(path), str(_SOURCE)], check=True
    )
    return path


class SkewedClock:
    """A UTC clock that those who share its environment go by. The monotonic one is true.

    Args:
        folder: Where library and offset are kept. It is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._library = build_library(folder)
        self._file = folder / "skew"
        self._file.write_bytes(bytes(8))

    @property
    def environment(self) -> dict[str, str]:
        """To be added to a process's environment before it starts."""
        return {"LD_PRELOAD": str(self._library), "SKEW_FILE": str(self._file)}

    def jump(self, seconds: float) -> None:
        """Show the true time plus so many seconds, from now on and in all its processes."""
        with self._file.open("r+b") as file, mmap.mmap(file.fileno(), 8) as page:
            page[:] = struct.pack("<q", round(seconds * 1e9))
