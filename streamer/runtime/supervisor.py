"""Workers as child processes: started, told apart, restarted, stopped in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from streamer.core.errors import StreamerError
from streamer.runtime.worker import EXIT_TRY_AGAIN, Ready
from streamer.sources.credentials import CREDENTIALS_VARIABLE_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_SECONDS = 60.0
MAX_RESTARTS = 5
"""Of one worker, within `RESTART_WINDOW_SECONDS`; then something is wrong for good."""

RESTART_WINDOW_SECONDS = 60.0
TRY_AGAIN_SECONDS = 2.0
"""A worker that found no Redis when it started is started again so often, for ever."""


class WorkerFailed(StreamerError):
    """A worker ended that should not have.

    Attributes:
        exit_code: What to exit with: the worker's own for a failure it explained.
    """

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(slots=True)
class Worker:
    """A child process.

    Attributes:
        name: For messages and its log file, for example `encoder-1`.
        module: What runs, for example `workers.encoder`.
        arguments: Its command line.
        environment: All of it.
        log_path: Where its stderr goes.
        ready: What it said when it was ready.
    """

    name: str
    module: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path
    ready: Ready | None = None
    _process: subprocess.Popen[bytes] | None = None
    _lifeline: socket.socket | None = None
    _restarts: list[float] = field(default_factory=list)
    _tried_at: float = 0.0
    _was_ready: bool = False

    @property
    def pid(self) -> int:
        """Its process; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start it. It stops by itself when this process is gone."""
        ours, theirs = socket.socketpair()
        with self.log_path.open("ab") as log, theirs:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",  # a redis.py lying beside the videos must not become our module
                    "-m",
                    self.module,
                    *self.arguments,
                    "--lifeline-fd",
                    str(theirs.fileno()),
                ],
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                # Ctrl-C is for the supervisor, which stops the workers in order.
                start_new_session=True,
            )
        self._lifeline = ours
        self.ready = None

    def wait_ready(self, *, deadline: float) -> None:
        """Wait for its word.

        Raises:
            WorkerFailed: It ended first, or the deadline passed.
        """
        while not self.poll_ready(timeout_seconds=max(0.0, deadline - time.monotonic())):
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{self.name}: not ready in time: {self.why()}", exit_code=1)

    def poll_ready(self, *, timeout_seconds: float = 0.0) -> bool:
        """Whether it is ready; waits at most so long for its word.

        Raises:
            WorkerFailed: It ended before it was.
        """
        if self.ready is not None or self._lifeline is None:
            return self.ready is not None
        self._lifeline.settimeout(timeout_seconds)
        try:
            received = self._lifeline.recv(4096)
        except (TimeoutError, BlockingIOError):
            return False
        except ConnectionResetError:
            received = b""
        if not received:
            assert self._process is not None
            code = self._process.wait()
            if code == EXIT_TRY_AGAIN and self._was_ready:
                return False  # it comes again
            raise WorkerFailed(f"{self.name}: {self.why()}", exit_code=2 if code == 2 else 1)
        # Its word is one short line, written at once.
        self.ready = msgspec.json.decode(received, type=Ready)
        self._was_ready = True
        return True

    def restart(self) -> bool:
        """Start it again after a crash; False if it is too early for one that crashed just now.

        Raises:
            WorkerFailed: It has crashed too often.
        """
        now = time.monotonic()
        if self.exit_code == EXIT_TRY_AGAIN:
            if now - self._tried_at < TRY_AGAIN_SECONDS:
                return False
            self._tried_at = now
            self._hang_up()
            self.start()
            return True
        self._restarts = [at for at in self._restarts if now - at < RESTART_WINDOW_SECONDS]
        if self._restarts and now - self._restarts[-1] < 2.0 ** len(self._restarts) / 2:
            return False
        if len(self._restarts) >= MAX_RESTARTS:
            raise WorkerFailed(
                f"{self.name}: ended {MAX_RESTARTS} times in {RESTART_WINDOW_SECONDS:.0f} s: "
                f"{self.why()}",
                exit_code=1,
            )
        self._restarts.append(now)
        self._hang_up()
        self.start()
        return True

    def why(self) -> str:
        """Its last word, for people."""
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        if not lines:
            return f"ended with code {self.exit_code} and said nothing"
        try:
            said = json.loads(lines[-1])
            return str(said.get("error") or said["event"])
        except (json.JSONDecodeError, KeyError, AttributeError):
            return lines[-1].removeprefix(f"streamer worker {self.name.partition('-')[0]}: ")

    def terminate(self) -> None:
        """Ask it to stop."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def finish(self, *, deadline: float) -> None:
        """Wait for its end; kill it at the deadline."""
        if self._process is not None:
            try:
                self._process.wait(max(0.05, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._hang_up()

    def _hang_up(self) -> None:
        if self._lifeline is not None:
            self._lifeline.close()
            self._lifeline = None


def child_environment() -> dict[str, str]:
    """This environment without our settings: workers get those resolved, in a file."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STREAMER_") or name.startswith(CREDENTIALS_VARIABLE_PREFIX)
    }


def stop_in_order(workers: Sequence[Sequence[Worker]], *, seconds: float) -> None:
    """Stop groups of workers one after the other, so that each drains what the one before sent.

    Args:
        workers: Groups, upstream first.
        seconds: Deadline for all of them together.
    """
    end = time.monotonic() + seconds
    for index, group in enumerate(workers):
        share = (end - time.monotonic()) / (len(workers) - index)
        for worker in group:
            worker.terminate()
        for worker in group:
            worker.finish(deadline=time.monotonic() + share)
