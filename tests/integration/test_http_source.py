from __future__ import annotations

import threading
from contextlib import contextmanager
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import av
import pytest

from streamer.core.errors import SourceError
from streamer.core.preprocess import Preprocess
from streamer.runtime.clock import SystemClock
from streamer.sources.av import AvSource
from tests.videos import make_clip, numbered_picture, read_frame_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.alone  # frames are to come at the camera's pace

PREPROCESS = Preprocess(width=96, height=64)
CLOCK = SystemClock()


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


class JpegStream(BaseHTTPRequestHandler):
    """A camera that sends a picture every 50 ms, in the way of `multipart/x-mixed-replace`."""

    pictures: tuple[bytes, ...] = ()

    def do_GET(self) -> None:
        """Send all pictures; hang up."""
        if self.headers.get("Authorization") != "Basic YWRtaW46c2VjcmV0":  # admin:secret
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        pause = threading.Event()
        for picture in self.pictures:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            self.wfile.write(head.encode() + picture + b"\r\n")
            pause.wait(0.05)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serve(handler: Callable[..., BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def jpeg(number: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 192, 128, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    picture = numbered_picture(number, width=192, height=128)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuvj420p")
    return bytes(encoder.encode(frame)[0])


def watch(source: AvSource) -> tuple[list[int], list[float], list[float], str]:
    """Numbers, times and arrival times of the frames; the reason of the end."""
    numbers, times, arrivals, reason = [], [], [], "end"
    try:
        source.open()
        for frame in source.frames():
            numbers.append(read_frame_number(frame.to_image(PREPROCESS)))
            times.append(frame.pts_seconds)
            arrivals.append(CLOCK.mark().ns * 1e-9)
    except SourceError as error:
        reason = error.reason
    source.close()
    return numbers, times, [at - arrivals[0] for at in arrivals], reason


def test_a_jpeg_stream_is_timed_by_receipt() -> None:
    handler = type("Camera", (JpegStream,), {"pictures": tuple(map(jpeg, range(12)))})
    with serve(handler) as host:
        source = AvSource(f"http://admin:secret@{host}/video", clock=CLOCK)
        assert (source.live, source.endless) == (True, True)
        numbers, times, arrivals, reason = watch(source)
        assert numbers == list(range(12))[: len(numbers)]
        assert len(numbers) >= 11  # the last one's end is not marked
        assert times == pytest.approx(arrivals, abs=0.04)
        assert 0.5 < times[-1] < 1.5
        assert reason == "disconnected"
        with pytest.raises(SourceError) as caught:
            AvSource(f"http://admin:wrong@{host}/video", clock=CLOCK).open()
        assert (caught.value.reason, caught.value.retryable) == ("unauthorized", False)


def test_hls_plays_at_its_own_pace(tmp_path: Path) -> None:
    with_segments = {"hls_time": "0.4", "hls_list_size": "0", "hls_playlist_type": "vod"}
    make_clip(tmp_path / "live.m3u8", frames=25, container_options=with_segments)
    with serve(partial(QuietFiles, directory=str(tmp_path))) as host:
        numbers, times, arrivals, reason = watch(AvSource(f"http://{host}/live.m3u8", clock=CLOCK))
    assert (numbers, reason) == (list(range(25)), "end")
    assert times == pytest.approx([number / 25 for number in range(25)], abs=2e-3)
    assert arrivals[-1] > 0.9


def test_a_file_on_a_web_server_plays_at_its_own_pace(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=15)
    with serve(partial(QuietFiles, directory=str(tmp_path))) as host:
        numbers, _, arrivals, reason = watch(AvSource(f"http://{host}/clip.mp4", clock=CLOCK))
        assert (numbers, reason) == (list(range(15)), "end")
        assert arrivals[-1] > 0.5
        clip.unlink()
        with pytest.raises(SourceError) as caught:
            AvSource(f"http://{host}/clip.mp4", clock=CLOCK).open()
    assert (caught.value.reason, caught.value.retryable) == ("not_found", True)
