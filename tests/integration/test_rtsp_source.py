from __future__ import annotations

import logging
import socket
import threading
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING

import pytest

from streamer.core.clock import ClockSource
from streamer.core.errors import SourceError
from streamer.core.preprocess import Preprocess
from streamer.runtime.clock import SystemClock
from streamer.sources.av import AvSource
from streamer.sources.origin import Transport
from tests.integration.terse_camera import terse_camera
from tests.videos import make_clip, read_frame_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.cameras import RtspServer

    Start = Callable[..., RtspServer]

pytestmark = pytest.mark.alone  # frames are to come at the camera's pace

PREPROCESS = Preprocess(width=96, height=64)
CLOCK = SystemClock()


def camera(url: str, **options: object) -> AvSource:
    options = {"open_timeout_seconds": 5.0, "frame_timeout_seconds": 2.0} | options
    return AvSource(url, clock=CLOCK, **options)


def watch(source: AvSource, *, frames: int = 10_000) -> tuple[list[int], list[float], str]:
    """Numbers and times of the frames, and the reason of the end."""
    numbers, times = [], []
    try:
        source.open()
        for frame in source.frames():
            numbers.append(read_frame_number(frame.to_image(PREPROCESS)))
            times.append(frame.pts_seconds)
            if len(numbers) == frames:
                return numbers, times, "enough"
    except SourceError as error:
        return numbers, times, error.reason
    finally:
        source.close()
    return numbers, times, "end"


@pytest.mark.rtsp
@pytest.mark.parametrize("transport", Transport)
def test_every_frame_with_its_time(
    start_rtsp_server: Start, numbered_clip: Path, transport: Transport
) -> None:
    server = start_rtsp_server({"cam": numbered_clip})
    source = camera(server.url("cam"), transport=transport)
    assert (source.live, source.endless) == (True, True)
    numbers, times, reason = watch(source)
    assert numbers == list(range(50))
    # The first frame comes without a time; the others are placed from its receipt on.
    assert times == pytest.approx([number / 25 for number in range(50)], abs=0.03)
    assert times[-1] - times[1] == pytest.approx(48 / 25, abs=1e-3)
    assert reason == "disconnected"  # a camera has no end


@pytest.mark.rtsp
@pytest.mark.parametrize("slices", ["1", "4"])
def test_large_pictures_come_whole_and_at_once(
    start_rtsp_server: Start, tmp_path: Path, slices: str
) -> None:
    options = {"preset": "ultrafast", "tune": "zerolatency", "qp": "1", "slices": slices}
    clip = make_clip(tmp_path / "clip.mp4", frames=30, width=1280, height=720, options=options)
    source = camera(start_rtsp_server({"cam": clip}).url("cam"))
    source.open()
    numbers, ages = [], []
    for frame in source.frames():
        ages.append((CLOCK.mark().ns - frame.received.ns) * 1e-9)
        numbers.append(read_frame_number(frame.to_image(PREPROCESS)))
        assert frame.clock is ClockSource.HOST
        assert frame.captured_at_ns == frame.received_at_ns
        if len(ages) == 25:
            break
    source.close()
    assert numbers == list(range(25))
    assert median(ages) < 0.03  # received to decoded


@pytest.mark.rtsp
def test_b_frames_come_in_order(start_rtsp_server: Start, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "b.mp4", frames=30, options={"preset": "medium", "bf": "3"})
    numbers, times, _ = watch(camera(start_rtsp_server({"cam": clip}).url("cam")))
    assert numbers == list(range(30))
    assert times == pytest.approx([number / 25 for number in range(30)], abs=0.03)


@pytest.mark.rtsp
def test_a_camera_that_announces_no_size(start_rtsp_server: Start, numbered_clip: Path) -> None:
    server = start_rtsp_server({"cam": numbered_clip}, kind="mjpeg")
    assert watch(camera(server.url("cam")), frames=20)[0] == list(range(20))


def test_a_camera_joined_between_key_frames_is_opened_with_probing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "clip.h264", frames=75)
    caplog.set_level(logging.DEBUG, "streamer.sources.av")
    with terse_camera(clip, skip_frames=20) as url:
        numbers, _, reason = watch(camera(url), frames=20)
    assert "opening again" in caplog.text
    assert numbers == list(range(25, 45))  # the second key frame and on
    assert reason == "enough"


@pytest.mark.rtsp
@pytest.mark.parametrize("auth", ["basic", "digest"])
def test_credentials(start_rtsp_server: Start, numbered_clip: Path, auth: str) -> None:
    server = start_rtsp_server({"cam": numbered_clip}, user="admin:p@ss/w#rd", auth=auth)
    url = server.url("cam")
    right = camera(url, credentials=("admin", "p@ss/w#rd"))
    assert watch(right, frames=3)[0] == [0, 1, 2]
    assert watch(camera(server.url("cam", user="admin:p%40ss%2Fw%23rd")), frames=1)[0] == [0]
    for wrong in (("admin", "guess"), None):
        with pytest.raises(SourceError) as caught:
            camera(url, credentials=wrong).open()
        assert (caught.value.reason, caught.value.retryable) == ("unauthorized", False)
        assert "guess" not in str(caught.value)


@pytest.mark.rtsp
def test_a_mount_point_that_is_not_there(start_rtsp_server: Start, numbered_clip: Path) -> None:
    server = start_rtsp_server({"cam": numbered_clip})
    assert watch(camera(server.url("other"))) == ([], [], "not_found")


@pytest.mark.rtsp
@pytest.mark.parametrize("transport", Transport)
def test_a_server_that_dies(
    start_rtsp_server: Start, numbered_clip: Path, transport: Transport
) -> None:
    server = start_rtsp_server({"cam": numbered_clip})
    source = camera(server.url("cam"), transport=transport)
    source.open()
    frames = source.frames()
    next(frames)
    server.kill()
    begun_ns = CLOCK.mark().ns
    with pytest.raises(SourceError) as caught:
        for _ in frames:
            pass
    assert caught.value.reason in {"disconnected", "timeout"}
    assert caught.value.retryable
    assert CLOCK.mark().ns - begun_ns < 4e9
    source.close()


@pytest.mark.rtsp
def test_close_from_another_thread(start_rtsp_server: Start, numbered_clip: Path) -> None:
    source = camera(start_rtsp_server({"cam": numbered_clip}).url("cam"))
    source.open()
    seen = threading.Event()

    def read() -> None:
        for _ in source.frames():
            seen.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert seen.wait(10)
    source.close()
    thread.join(3)
    assert not thread.is_alive()


def test_a_port_nobody_listens_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        camera(f"rtsp://127.0.0.1:{port}/cam").open()
    assert (caught.value.reason, caught.value.retryable) == ("refused", True)


@contextmanager
def silent_server() -> Iterator[int]:
    """Accepts, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("scheme", ["rtsp", "rtsps", "http", "https"])
def test_a_silent_server_is_given_up_in_time(scheme: str) -> None:
    with silent_server() as port:
        begun_ns = CLOCK.mark().ns
        with pytest.raises(SourceError) as caught:
            camera(f"{scheme}://127.0.0.1:{port}/cam", open_timeout_seconds=0.6).open()
        elapsed_seconds = (CLOCK.mark().ns - begun_ns) * 1e-9
    assert (caught.value.reason, caught.value.retryable) == ("timeout", True)
    assert 0.5 < elapsed_seconds < 1.6
