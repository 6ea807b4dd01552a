"""What is told of a camera, and how often."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamer.core.clock import ClockSource
from streamer.runtime.portrait import OFFSET_SECONDS, Portrait
from streamer.telemetry.records.ingest import ClockOffset, StreamDescribed
from streamer.testing.clock import ManualClock


@dataclass
class Picture:
    captured_at_ns: int = 10**18
    received_at_ns: int = 10**18
    clock: ClockSource = ClockSource.HOST
    camera_at_ns: int | None = None
    size: tuple[int, int] = (640, 360)


class Told:
    def __init__(self):
        self.records = []
        self.clock = ManualClock()
        self.portrait = Portrait("cam", kind="rtsp", observer=self)

    def observe(self, record):
        self.records.append(record)

    def look(self, picture):
        self.portrait.look(picture, now=self.clock.mark())

    def of(self, kind):
        return [record for record in self.records if isinstance(record, kind)]


def test_a_camera_is_described_when_it_begins_and_when_it_changes():
    told = Told()
    for size in [(640, 360)] * 3 + [(1280, 720)] * 3:
        told.look(Picture(size=size))
    assert told.records == [
        StreamDescribed(stream_id="cam", kind="rtsp", width=640, height=360, clock="host"),
        StreamDescribed(stream_id="cam", kind="rtsp", width=1280, height=720, clock="host"),
    ]


@pytest.mark.parametrize("clock", list(ClockSource))
def test_only_a_camera_that_sends_its_clock_has_an_offset(clock):
    told = Told()
    told.look(Picture(captured_at_ns=10**18 + 10**9, clock=clock))
    assert not told.of(ClockOffset)


def test_the_offset_of_a_cameras_clock_is_told_now_and_then():
    told = Told()
    for offset_ns in (2 * 10**9, 3 * 10**9, -(10**9)):
        told.look(Picture(camera_at_ns=10**18 + offset_ns))
        told.clock.advance(OFFSET_SECONDS * 0.6)
    assert told.of(ClockOffset) == [ClockOffset("cam", 2.0), ClockOffset("cam", -1.0)]


@pytest.mark.parametrize("camera_at_ns", [-2_208_988_800 * 10**9, 0, 2**63 - 1, 2**63 * 1000])
def test_a_clock_that_shows_nonsense_is_told_as_it_is(camera_at_ns):
    told = Told()
    told.look(Picture(camera_at_ns=camera_at_ns))
    (offset,) = told.of(ClockOffset)
    assert offset.seconds == pytest.approx((camera_at_ns - 10**18) / 1e9)


def test_a_camera_that_sends_its_clock_later_is_told_of_at_once():
    told = Told()
    told.look(Picture())
    told.clock.advance(0.1)
    told.look(Picture(camera_at_ns=10**18 + 10**9))
    assert told.of(ClockOffset) == [ClockOffset("cam", 1.0)]
