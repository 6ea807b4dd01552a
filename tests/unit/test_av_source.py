from __future__ import annotations

import logging
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

import av
import pytest

from streamer.core.clock import ClockSource
from streamer.core.errors import ConfigError, SourceError
from streamer.core.preprocess import Preprocess
from streamer.runtime.clock import SystemClock
from streamer.sources.av import AvSource
from streamer.sources.ffmpeg_log import LOGGER, enable_ffmpeg_log
from streamer.testing.clock import START_UTC_NS, ManualClock
from tests.videos import make_audio, make_clip, read_frame_number

if TYPE_CHECKING:
    from pathlib import Path

PREPROCESS = Preprocess(width=96, height=64)


def play(source: AvSource) -> tuple[list[int], list[float]]:
    """Numbers and times of all frames."""
    numbers, times = [], []
    source.open()
    for frame in source.frames():
        numbers.append(read_frame_number(frame.to_image(PREPROCESS)))
        times.append(frame.pts_seconds)
    source.close()
    return numbers, times


def file_source(path: Path, **options: bool) -> AvSource:
    return AvSource(str(path), clock=ManualClock(), **options)


@pytest.mark.parametrize("options", [None, {"preset": "medium", "bf": "3"}, {"preset": "medium"}])
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_every_frame_once_in_order(tmp_path: Path, suffix: str, options: dict | None) -> None:
    clip = make_clip(tmp_path / f"clip.{suffix}", frames=60, options=options)
    numbers, times = play(file_source(clip))
    assert numbers == list(range(60))
    assert times == pytest.approx([number / 25 for number in range(60)], abs=1e-3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "size"),
    [
        ("ffv1", "yuv420p", (191, 129)),
        ("mjpeg", "yuvj422p", (193, 127)),
        ("libx264", "yuv444p", (191, 129)),
        ("libx265", "yuv420p", (192, 128)),
    ],
)
def test_codecs_and_odd_sizes(
    tmp_path: Path, codec: str, pix_fmt: str, size: tuple[int, int]
) -> None:
    clip = make_clip(
        tmp_path / "clip.mkv",
        frames=20,
        codec=codec,
        pix_fmt=pix_fmt,
        width=size[0],
        height=size[1],
    )
    assert play(file_source(clip))[0] == list(range(20))


def test_a_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    pts = [0.0, 0.04, 0.3, 0.31, 1.0, 4.5]
    clip = make_clip(tmp_path / "clip.mp4", pts_seconds=pts)
    assert play(file_source(clip)) == ([0, 1, 2, 3, 4, 5], pytest.approx(pts, abs=1e-3))


def test_missing_times_are_derived_from_the_rate(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.h264", frames=30, fps=25)
    numbers, times = play(file_source(clip))
    assert numbers == list(range(30))
    assert times == pytest.approx([number / 25 for number in range(30)])


def test_times_of_a_file_count_from_its_opening(tmp_path: Path) -> None:
    source = file_source(make_clip(tmp_path / "clip.mp4", frames=5))
    assert (source.live, source.endless) == (False, False)
    source.open()
    frames = list(source.frames())
    assert {frame.clock for frame in frames} == {ClockSource.FILE}
    captured = [frame.captured_at_ns - START_UTC_NS for frame in frames]
    assert captured == [round(frame.pts_seconds * 1e9) for frame in frames]
    assert {frame.received_at_ns for frame in frames} == {START_UTC_NS}
    source.close()


def test_a_file_can_be_played_again(tmp_path: Path) -> None:
    source = file_source(make_clip(tmp_path / "clip.mp4", frames=10), loop=True)
    assert source.endless
    assert play(source) == play(source)


def test_a_name_with_a_colon_or_percent_is_a_file(tmp_path: Path) -> None:
    assert play(file_source(make_clip(tmp_path / "a:b.mp4", frames=3)))[0] == [0, 1, 2]
    clip = make_clip(tmp_path / "plain.mp4", frames=3)
    assert play(file_source(clip.rename(tmp_path / "50%d #1.mp4")))[0] == [0, 1, 2]


def test_realtime_keeps_the_pace(tmp_path: Path) -> None:
    clock = SystemClock()
    source = AvSource(str(make_clip(tmp_path / "clip.mp4", frames=8)), realtime=True, clock=clock)
    assert source.live
    source.open()
    begun_ns = clock.mark().ns
    late = []
    for frame in source.frames():
        now_ns = clock.mark().ns
        late.append((now_ns - begun_ns) * 1e-9 - frame.pts_seconds)
        assert frame.received.ns <= now_ns
    assert now_ns - frame.received.ns < 100e6  # the wait does not count as the pipeline's
    assert min(late) > -0.002
    assert late[-1] < 0.2
    source.close()


def test_close_ends_a_wait_from_another_thread(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", pts_seconds=[0.0, 3600.0, 7200.0])
    source = AvSource(str(clip), realtime=True, clock=SystemClock())
    source.open()
    got, waiting = [], threading.Event()

    def read() -> None:
        for frame in source.frames():
            got.append(frame.pts_seconds)
            waiting.set()

    thread = threading.Thread(target=read)
    thread.start()
    assert waiting.wait(10)
    source.close()
    thread.join(10)
    assert not thread.is_alive()
    assert got == [0.0]
    source.close()


def test_a_file_that_is_cut_off_plays_to_the_break(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=100, container_options={"movflags": "faststart"})
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    numbers, _ = play(file_source(clip))
    assert 10 < len(numbers) < 90
    assert numbers == list(range(len(numbers)))
    assert "before its time" in caplog.text


def test_damage_in_the_middle_does_not_end_it(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.ts", frames=100)
    data = bytearray(clip.read_bytes())
    third = len(data) // 3
    data[third : third + 3000] = bytes(3000)
    clip.write_bytes(data)
    numbers, times = play(file_source(clip))
    assert numbers[-1] == 99
    assert len(numbers) < 100
    assert all(earlier < later for earlier, later in pairwise(times))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "not_found"),
        (lambda path: path.write_bytes(b""), "corrupt"),
        (lambda path: path.write_bytes(b"no video at all" * 500), "corrupt"),
        (lambda path: make_audio(path), "no_video"),
        (lambda path: path.mkdir(), "unsupported"),
        (lambda path: path.write_bytes(make_clip(path).read_bytes()[:-2000]), "corrupt"),
    ],
)
def test_what_can_not_be_played_says_why(tmp_path: Path, make, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    source = file_source(path)
    with pytest.raises(SourceError) as caught:
        source.open()
    assert (caught.value.reason, caught.value.retryable) == (reason, False)
    assert str(path) in str(caught.value)
    source.close()


def test_pictures_that_can_not_be_decoded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mkv", frames=5)
    data = clip.read_bytes()
    with av.open(str(clip)) as container:
        for packet in container.demux(video=0):
            data = data.replace(bytes(packet) or b"\0" * 50, b"\xff" * packet.size or b"\0" * 50)
    clip.write_bytes(data)
    with pytest.raises(SourceError, match="no picture") as caught:
        file_source(clip).open()
    assert caught.value.reason == "corrupt"


def test_frames_before_open_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"expected open\(\)"):
        list(file_source(tmp_path / "clip.mp4").frames())


def test_a_webcam_that_is_not_there() -> None:
    source = AvSource("/dev/video63", clock=ManualClock())
    assert (source.live, source.endless) == (True, True)
    with pytest.raises(SourceError) as caught:
        source.open()
    assert (caught.value.reason, caught.value.retryable) == ("not_found", True)


def test_credentials_are_in_no_message() -> None:
    url = "rtsp://admin:hidden@127.0.0.1:1/x?token=hidden"
    source = AvSource(url, clock=ManualClock())
    with pytest.raises(SourceError) as caught:
        source.open()
    error = caught.value
    assert (error.reason, error.retryable) == ("refused", True)
    assert error.__suppress_context__
    for shown in (str(error), repr(source), source.name):
        assert "hidden" not in shown
        assert "127.0.0.1:1" in shown
    with pytest.raises(ConfigError, match="twice") as twice:
        AvSource(url, credentials=("a", "hidden"), clock=ManualClock())
    assert "hidden" not in str(twice.value)


def test_ffmpegs_messages_can_be_heard_without_credentials(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    enable_ffmpeg_log()
    try:
        with caplog.at_level(logging.DEBUG, LOGGER.name), pytest.raises(SourceError):
            AvSource("http://admin:hidden@127.0.0.1:1/x", clock=ManualClock()).open()
    finally:
        av.logging.set_level(None)
    assert "127.0.0.1" in caplog.text
    assert "hidden" not in caplog.text
    assert capfd.readouterr() == ("", "")
