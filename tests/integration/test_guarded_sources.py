"""Sources that were added over the network, opened by FFmpeg: only what was checked is reached."""

from __future__ import annotations

import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from streamer.core.errors import SourceError
from streamer.runtime.clock import SystemClock
from streamer.sources import guard
from streamer.sources.guard import SourcePolicy
from streamer.sources.origin import Transport
from streamer.sources.spec import SourceSpec, open_source
from tests.videos import make_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cameras import RtspServer

FRAMES = 10
HERE = SourcePolicy(kinds=("rtsp", "http"), networks=("127.0.0.0/8",))
WITH_HLS = SourcePolicy(kinds=("rtsp", "http", "hls"), networks=("127.0.0.0/8",))
ELSEWHERE = SourcePolicy(kinds=("rtsp", "http"), networks=("10.0.0.0/8",))


class Files(SimpleHTTPRequestHandler):
    """Serves a folder, and remembers what it was asked for."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class Redirect(BaseHTTPRequestHandler):
    """Sends everybody somewhere else."""

    to = ""

    def do_GET(self) -> None:
        self.send_response(302)
        self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def serve():
    """Start a server; its port."""
    servers = []

    def start(handler) -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return server.server_port

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def folder(tmp_path: Path):
    make_clip(tmp_path / "clip.mp4", frames=FRAMES)
    playlist = {"hls_time": "0.4", "hls_list_size": "0", "hls_playlist_type": "vod"}
    make_clip(tmp_path / "list.m3u8", frames=FRAMES, container_options=playlist)
    return tmp_path


@pytest.fixture
def asked():
    return []


@pytest.fixture
def port(serve, folder, asked):
    handler = type("OurFiles", (Files,), {"asked": asked})
    return serve(partial(handler, directory=str(folder)))


def frames_of(url: str, policy: SourcePolicy | None, **options: str) -> int:
    spec = SourceSpec(stream_id="cam", url=url, policy=policy, options=options)
    source = open_source(spec, clock=SystemClock(), open_timeout_seconds=5.0)
    try:
        source.open()
        return sum(1 for _ in source.frames())
    finally:
        source.close()


def reason_of(url: str, policy: SourcePolicy | None) -> str:
    with pytest.raises(SourceError) as caught:
        frames_of(url, policy)
    return caught.value.reason


def test_the_checked_address_is_asked_by_its_name(port, asked):
    url = f"http://localhost:{port}/clip.mp4"
    assert frames_of(url, HERE) == FRAMES
    assert {host for _, host in asked} == {f"localhost:{port}"}


def test_a_name_that_has_moved_is_not_opened(port, asked, monkeypatch):
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["8.8.8.8"]])
    monkeypatch.setattr(guard, "_resolve", lambda _host: next(answers))
    url = f"http://camera.example:{port}/clip.mp4"
    assert frames_of(url, HERE) == FRAMES
    asked.clear()
    assert reason_of(url, HERE) == "forbidden"
    assert reason_of(url, HERE) == "forbidden"
    assert asked == []


def test_another_network_is_not_asked(port, asked):
    for host in ("127.0.0.1", "localhost", "2130706433", "[::ffff:127.0.0.1]"):
        assert reason_of(f"http://{host}:{port}/clip.mp4", ELSEWHERE) == "forbidden"
    assert asked == []


def test_redirects_are_not_followed(serve, port, asked):
    handler = type("Elsewhere", (Redirect,), {"to": f"http://127.0.0.1:{port}/clip.mp4"})
    url = f"http://127.0.0.1:{serve(handler)}/camera"
    # Else the test would prove nothing.
    assert frames_of(url, None) == FRAMES
    asked.clear()
    assert reason_of(url, HERE) == "refused"
    assert asked == []


def test_playlists_are_not_followed_unless_that_is_set(port, asked):
    url = f"http://127.0.0.1:{port}/list.m3u8"
    assert frames_of(url, WITH_HLS) == FRAMES
    asked.clear()
    assert reason_of(url, HERE) == "refused"
    assert {path for path, _ in asked} == {"/list.m3u8"}


@pytest.mark.parametrize(
    "to", ["file:///{}/clip.mp4", "ftp://127.0.0.1:{}/x", "tcp://127.0.0.1:{}"]
)
def test_a_playlist_leads_to_no_other_protocol(port, folder, to, asked):
    segment = to.format(str(folder).lstrip("/") if "file" in to else port)
    (folder / "evil.m3u8").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{segment}\n#EXT-X-ENDLIST\n"
    )
    asked.clear()
    assert reason_of(f"http://127.0.0.1:{port}/evil.m3u8", WITH_HLS)
    assert {path for path, _ in asked} == {"/evil.m3u8"}


@pytest.mark.rtsp
@pytest.mark.parametrize("transport", Transport)
def test_a_camera_is_opened_by_its_address(
    start_rtsp_server: Callable[..., RtspServer], numbered_clip: Path, transport: Transport
):
    server = start_rtsp_server({"cam": numbered_clip})
    url = f"rtsp://localhost:{server.port}/cam"
    spec = SourceSpec(stream_id="cam", url=url, policy=HERE, options={"transport": transport.value})
    source = open_source(spec, clock=SystemClock())
    source.open()
    assert next(iter(source.frames())).pts_seconds >= 0.0
    source.close()
    assert reason_of(url, ELSEWHERE) == "forbidden"
