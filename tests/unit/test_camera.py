"""A camera's life, with a scripted source and a manual clock."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import pytest

from streamer.core.clock import ClockSource
from streamer.core.errors import SourceError, TransportError
from streamer.core.feature import StatusNote, StreamStatus
from streamer.core.preprocess import Preprocess
from streamer.runtime.camera import Camera
from streamer.stages.ingest import IngestStage
from streamer.telemetry.observer import Observers
from streamer.testing.clock import ManualClock
from streamer.transport.memory import MemoryFramePath, MemoryStreamLog

GONE = SourceError("cam: gone", retryable=True, reason="disconnected")
REFUSED = SourceError("cam: refused", retryable=True, reason="refused")
WRONG_PASSWORD = SourceError("cam: unauthorized", retryable=False, reason="unauthorized")


@dataclass
class Picture:
    pts_seconds: float
    clock_: ManualClock
    size: tuple[int, int] = (320, 240)

    def __post_init__(self):
        self.captured_at_ns = self.received_at_ns = self.clock_.utc_ns()
        self.received = self.clock_.mark()
        self.clock = ClockSource.HOST
        self.camera_at_ns = None

    def to_image(self, preprocess):
        self.clock_.advance(0.002)
        return np.zeros(preprocess.shape, np.uint8)


@dataclass
class Script:
    """Each opening is a list: the error of `open`, or frames and then perhaps an error."""

    openings: list
    clock: ManualClock
    live: bool = True
    endless: bool = True
    opened: int = 0
    closed: int = 0
    items: list = field(default_factory=list)

    def open(self):
        self.items = self.openings[self.opened]
        self.opened += 1
        if self.items and isinstance(self.items[0], SourceError):
            raise self.items[0]

    def frames(self):
        for item in self.items:
            if isinstance(item, SourceError):
                raise item
            self.clock.advance(0.1)
            yield Picture(item, self.clock)

    def close(self):
        self.closed += 1


class Fixture:
    def __init__(self, openings, *, live=True, endless=True, log=None):
        self.clock = ManualClock()
        self.script = Script(openings, self.clock, live=live, endless=endless)
        self.path = MemoryFramePath(num_slots=100)
        self.camera = Camera(
            open_source=lambda: self.script,
            stage=IngestStage("cam", session="s", analysis_fps=10),
            log=log or MemoryStreamLog(),
            sender=self.path,
            preprocess=Preprocess(width=4, height=4),
            clock=self.clock,
            observer=Observers(),
            session="s",
        )

    def play(self):
        self.camera.start()
        assert self.camera.join(timeout_seconds=20)
        return self.path.receive(timeout_seconds=0)


def states(items):
    return [(i.status.value, i.reason) for i in items if isinstance(i, StatusNote)]


def frames(items):
    return [(i.stamp.epoch, i.stamp.seq) for i in items if not isinstance(i, StatusNote)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("streamer.sources.backoff.Backoff.next_seconds", lambda *_, **__: 0.0)


def test_a_file_is_read_once_and_ends():
    items = Fixture([[0.0, 0.1, 0.2]], live=False, endless=False).play()
    assert states(items) == [("connecting", ""), ("live", ""), ("ended", "end_of_file")]
    assert frames(items) == [(1, 0), (1, 1), (1, 2)]
    assert isinstance(items[-1], StatusNote)


def test_a_lost_camera_comes_back_in_a_new_epoch():
    items = Fixture([[0.0, 0.1, GONE], [REFUSED], [0.0, WRONG_PASSWORD]]).play()
    assert states(items) == [
        ("connecting", ""),
        ("live", ""),
        ("reconnecting", "disconnected"),
        ("reconnecting", "refused"),
        ("live", ""),
        ("failed", "unauthorized"),
    ]
    # The attempt that never gave a frame is no epoch of its own.
    assert frames(items) == [(1, 0), (1, 1), (2, 0)]


def test_the_same_failure_again_is_no_change():
    items = Fixture([[REFUSED], [REFUSED], [REFUSED], [0.0, WRONG_PASSWORD]]).play()
    assert states(items) == [
        ("connecting", ""),
        ("reconnecting", "refused"),
        ("live", ""),
        ("failed", "unauthorized"),
    ]


def test_what_no_retry_mends_is_final():
    fixture = Fixture([[WRONG_PASSWORD]])
    assert states(fixture.play()) == [("connecting", ""), ("failed", "unauthorized")]
    assert not fixture.camera.running
    assert fixture.script.closed == 1


def test_a_looped_file_begins_a_new_epoch_without_a_change_of_state():
    items = Fixture([[0.0, 0.1], [0.0, 0.1], [0.0, WRONG_PASSWORD]], live=False).play()
    assert states(items) == [("connecting", ""), ("live", ""), ("failed", "unauthorized")]
    assert frames(items) == [(1, 0), (1, 1), (2, 0), (2, 1), (3, 0)]


def test_positions_grow_over_frames_notes_and_epochs():
    items = Fixture([[0.0, 0.1, GONE], [0.0, 0.1, WRONG_PASSWORD]]).play()
    positions = [i.entry_us if isinstance(i, StatusNote) else i.stamp.entry_us for i in items]
    assert all(a < b for a, b in itertools.pairwise(positions))


def test_decoding_time_counts_from_the_packet():
    items = Fixture([[0.0, 0.1]], live=False, endless=False).play()
    stamps = [i.stamp for i in items if not isinstance(i, StatusNote)]
    assert [round(s.decode_seconds, 6) for s in stamps] == [0.002, 0.002]


def test_frames_between_the_analysed_ones_are_not_converted():
    fixture = Fixture([[n / 25 for n in range(50)]], live=False, endless=False)
    items = fixture.play()
    assert len(frames(items)) in (20, 21)
    converted_seconds = len(frames(items)) * 0.002
    assert fixture.clock.mark().ns * 1e-9 == pytest.approx(50 * 0.1 + converted_seconds)


def test_an_unreachable_redis_is_tried_again():
    class Flaky(MemoryStreamLog):
        failures = 2

        def open_source(self, stream_id, **how):
            if self.failures:
                self.failures -= 1
                raise TransportError("away")
            return super().open_source(stream_id, **how)

    items = Fixture([[0.0]], live=False, endless=False, log=Flaky()).play()
    assert frames(items) == [(1, 0)]


def test_full_shared_memory_fails_this_camera_and_says_so():
    fixture = Fixture([[0.0, 0.1]])

    def refuse(*_, **__):
        raise TransportError("shared memory full: a camera needs 9 bytes", retryable=False)

    fixture.path.send = refuse
    assert states(fixture.play()) == [
        ("connecting", ""),
        ("live", ""),
        ("failed", "transport"),
    ]


def test_the_state_that_a_note_tells_is_one_of_the_documented():
    items = Fixture([[0.0]], live=False, endless=False).play()
    assert {i.status for i in items if isinstance(i, StatusNote)} <= set(StreamStatus)
