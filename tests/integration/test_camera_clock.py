"""How far a camera's clock is off, told by its RTCP sender reports."""

from __future__ import annotations

import time
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING

import pytest

from streamer.core.clock import ClockSource
from streamer.runtime.clock import SystemClock
from streamer.runtime.portrait import Portrait
from streamer.sources.av import AvSource
from streamer.sources.origin import Transport
from streamer.telemetry.records.ingest import ClockOffset
from tests.integration.terse_camera import terse_camera
from tests.videos import make_clip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from streamer.sources.reader import AvFrame
    from tests.cameras import RtspServer

pytestmark = pytest.mark.alone  # frames are to come at the camera's pace

CLOCK = SystemClock()
NEAR_SECONDS = 1.0
"""Of a camera on this host: a frame period, and what a busy machine adds."""
NTP_EPOCH_SECONDS = 2_208_988_800


def ntp(utc_seconds: float) -> int:
    """A 64-bit NTP timestamp; its seconds count from 1900 and wrap in 2036."""
    return int((utc_seconds + NTP_EPOCH_SECONDS) * 2**32) % 2**64


def frames(url: str, *, transport: Transport = Transport.TCP) -> Iterator[AvFrame]:
    source = AvSource(url, transport=transport, clock=CLOCK)
    with closing(source):
        source.open()
        yield from source.frames()


def offset_seconds(frame: AvFrame) -> float | None:
    if frame.camera_at_ns is None:
        return None
    return (frame.camera_at_ns - frame.received_at_ns) / 1e9


class Told:
    def __init__(self) -> None:
        self.portrait = Portrait("cam", kind="rtsp", observer=self)
        self.offsets: list[float] = []

    def observe(self, record: object) -> None:
        if isinstance(record, ClockOffset):
            self.offsets.append(record.seconds)


@pytest.mark.rtsp
@pytest.mark.parametrize(
    ("ahead_seconds", "transport"),
    [(None, Transport.TCP), (90.0, Transport.TCP), (-3600.0, Transport.UDP)],
)
def test_the_offset_of_a_real_camera(
    start_rtsp_server: Callable[..., RtspServer],
    tmp_path: Path,
    ahead_seconds: float | None,
    transport: Transport,
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=250)  # the first report comes within 4 s
    server = start_rtsp_server({"cam": clip}, clock_ahead=ahead_seconds)
    told, num_before = Told(), 0
    for frame in frames(server.url("cam"), transport=transport):
        assert (frame.clock, frame.captured_at_ns) == (ClockSource.HOST, frame.received_at_ns)
        told.portrait.look(frame, now=CLOCK.mark())
        if told.offsets:
            break
        num_before += 1
    assert num_before  # no time is made up before the first report
    assert told.offsets == [pytest.approx(ahead_seconds or 0.0, abs=NEAR_SECONDS)]


def test_a_clock_that_is_set_while_the_camera_is_connected(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.h264", frames=75)

    def report(index: int) -> int | None:
        if index % 20 != 0:
            return None
        return ntp(time.time() + (0.0 if index < 40 else 600.0))

    with terse_camera(clip, report=report) as url:
        seen = [offset_seconds(frame) for frame in islice(frames(url), 65)]
    assert seen[35] == pytest.approx(0.0, abs=NEAR_SECONDS)
    assert seen[60] == pytest.approx(600.0, abs=NEAR_SECONDS)


@pytest.mark.parametrize(
    ("sent", "understood_seconds"),
    [
        (ntp(0.0), 0.0),  # a camera that does not know the time
        (0, -NTP_EPOCH_SECONDS),  # or says so
        (ntp(2_085_978_496.0 + 60), 60 - NTP_EPOCH_SECONDS),  # a minute past the wrap of 2036
        (2**64 - 1, 2**32 - NTP_EPOCH_SECONDS),
    ],
)
def test_a_clock_that_shows_nonsense(tmp_path: Path, sent: int, understood_seconds: float) -> None:
    clip = make_clip(tmp_path / "clip.h264", frames=40)
    with terse_camera(clip, report=lambda index: sent if index == 5 else None) as url:
        seen = [frame.camera_at_ns for frame in islice(frames(url), 21)]
    assert seen[20] == pytest.approx((understood_seconds + 15 / 25) * 1e9, abs=1e8)


def test_a_camera_without_reports(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.h264", frames=30)
    with terse_camera(clip) as url:
        seen = [frame.camera_at_ns for frame in islice(frames(url), 20)]
    assert seen == [None] * 20
