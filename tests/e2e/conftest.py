"""The command as its user runs it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from streamer.core.event import decode_event
from streamer.sources.recording import record
from streamer.transport.shm import DIRECTORY, PREFIX, sweep

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.core.event import Event
    from streamer.sources.workcell import Truth

COMMAND = (sys.executable, "-P", "-m", "streamer.cli.main")


@dataclass
class Finished:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def events(self) -> list[Event]:
        return [decode_event(line) for line in self.stdout.splitlines()]


@pytest.fixture
def streamer():
    """Run `streamer …` to its end."""

    def run(*arguments: str, timeout: float = 90, **environment: str) -> Finished:
        done = subprocess.run(
            [*COMMAND, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**os.environ, **environment},
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def start():
    """Start `streamer …`; it is killed when the test is over."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands of one test keep their sockets and files, and nobody else's."""
    made = tmp_path_factory.mktemp("room")
    for variable in ("XDG_RUNTIME_DIR", "TMPDIR"):
        monkeypatch.setenv(variable, str(made))
    return made


def left_behind(room: Path) -> set[str]:
    """Folders, processes, and shared memory that no living process holds."""
    found = {str(p) for part in ("run", "targets") for p in room.glob(f"streamer/{part}-*")}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if str(room) in command:
            found.add(f"process {path.parent.name} {command}")
    for ring in DIRECTORY.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), ring.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held: another run's, alive
            found.add(ring.name)
    return found


@pytest.fixture(autouse=True)
def nothing_left_behind(room: Path) -> Iterator[None]:
    """Every command cleans up after itself, whatever happens to it."""
    sweep()
    yield
    assert left_behind(room) == set()


@pytest.fixture(scope="session")
def workcell_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    """A synthetic work cell as a camera would send it, and what is true in it."""
    path = tmp_path_factory.mktemp("clips") / "cell.mp4"
    return path, record(path, seconds=30, seed=1009, fps=25, width=640, height=360)
