"""Real cameras for tests: GStreamer's RTSP server in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.videos import make_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("rtsp_server.py")
START_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class RtspServer:
    """A running server."""

    process: subprocess.Popen[str]
    port: int

    def url(self, mount: str, *, user: str = "") -> str:
        """Address of a mount point, with `user:password` in it if given."""
        return f"rtsp://{user + '@' if user else ''}127.0.0.1:{self.port}/{mount}"

    def kill(self) -> None:
        """End it without any goodbye to its clients. Idempotent."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@cache
def missing_parts() -> str:
    """Why there can be no server; empty if there can."""
    check = (
        "import gi; gi.require_version('GstRtspServer', '1.0');"
        "from gi.repository import Gst, GstRtspServer; Gst.init(None);"
        "names = 'qtdemux h264parse rtph264pay rtpjpegpay avdec_h264 jpegenc'.split();"
        "missing = [name for name in names if not Gst.ElementFactory.find(name)];"
        "raise SystemExit(f'missing: {missing}' if missing else 0)"
    )
    try:
        done = subprocess.run(
            [SYSTEM_PYTHON, "-c", check], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError:
        return f"there is no {SYSTEM_PYTHON}"
    return "" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


@contextlib.contextmanager
def rtsp_servers() -> Iterator[Callable[..., RtspServer]]:
    """Starts servers, which are killed on leaving: `start({"cam": clip}, kind=…, user=…)`.

    `clock_ahead` sets the cameras' clocks so many seconds ahead of the host's.
    """
    if missing := missing_parts():
        reason = f"GStreamer's RTSP server can't run: {missing}; `make test` as root installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    servers: list[RtspServer] = []

    def start(
        mounts: dict[str, Path],
        *,
        kind: str = "h264",
        user: str = "",
        auth: str = "basic",
        clock_ahead: float | None = None,
    ) -> RtspServer:
        arguments = [f"--mount={name}={clip}" for name, clip in mounts.items()]
        arguments += [f"--kind={kind}", f"--user={user}", f"--auth={auth}"]
        if clock_ahead is not None:
            arguments.append(f"--clock-ahead={clock_ahead}")
        process = subprocess.Popen(
            [SYSTEM_PYTHON, str(SCRIPT), *arguments], stdout=subprocess.PIPE, text=True
        )
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        if not line:
            process.kill()
            process.wait()
            process.stdout.close()
            pytest.fail("the RTSP server did not start")
        servers.append(RtspServer(process, json.loads(line)["port"]))
        return servers[-1]

    try:
        yield start
    finally:
        for server in servers:
            server.kill()


@pytest.fixture
def start_rtsp_server() -> Iterator[Callable[..., RtspServer]]:
    """Starts servers: `start_rtsp_server({"cam": clip}, kind=…, user=…, auth=…)`."""
    with rtsp_servers() as start:
        yield start


@pytest.fixture(scope="session")
def numbered_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of 25 numbered frames each."""
    return make_clip(tmp_path_factory.mktemp("clips") / "numbered.mp4", frames=50)
