"""Frames, chunks, notes, events and bundles for tests."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.event import (
    Event,
    EventType,
    FrameRef,
    StatusData,
    Timing,
    event_id,
    rfc3339,
    sequence_text,
)
from streamer.core.feature import FeatureChunk, StatusNote, StreamStatus
from streamer.core.frame import Frame, FrameStamp
from streamer.core.ledger import Ledger

START_NS = 1_767_225_600_000_000_000
STEP_NS = 100_000_000


def stamp(stream_id: str = "cam", seq: int = 0, **changes: Any) -> FrameStamp:
    captured_ns = START_NS + seq * STEP_NS
    fields: dict[str, Any] = {
        "stream_id": stream_id,
        "session": "s1",
        "epoch": 1,
        "seq": seq,
        "entry_us": captured_ns // 1000,
        "pts_seconds": seq * 0.1,
        "captured_at_ns": captured_ns,
        "received_at_ns": captured_ns,
        "clock": ClockSource.HOST,
        "decode_seconds": 0.001,
        "ready": Mark("test", seq * STEP_NS),
    }
    return FrameStamp(**(fields | changes))


def frame(stream_id: str = "cam", seq: int = 0, *, size: int = 8, **changes: Any) -> Frame:
    """A frame whose pixels say which it is."""
    image = np.full((size, size, 3), seq % 256, np.uint8)
    return Frame(stamp(stream_id, seq, **changes), image)


def chunk(
    stream_id: str = "cam",
    first_seq: int = 0,
    *,
    length: int = 1,
    width: int = 4,
    features: np.ndarray | None = None,
    **changes: Any,
) -> FeatureChunk:
    seqs = np.arange(first_seq, first_seq + length)
    captured_ns = START_NS + seqs * STEP_NS
    if features is None:
        features = np.random.default_rng(first_seq).normal(size=(length, width))
    fields: dict[str, Any] = {
        "stream_id": stream_id,
        "session": "s1",
        "epoch": 1,
        "first_seq": first_seq,
        "entry_us": int(captured_ns[-1] // 1000),
        "features": features.astype(np.float16),
        "pts_seconds": seqs * 0.1,
        "captured_at_ns": captured_ns.astype(np.int64),
        "received_at_ns": captured_ns.astype(np.int64),
        "latency": np.full((length, 3), 0.001, np.float32),
        "clock": ClockSource.HOST,
        "encoder_id": "sha256:encoder",
        "ready": Mark("test", int(seqs[-1]) * STEP_NS),
    }
    return FeatureChunk(**(fields | changes))


def note(
    stream_id: str = "cam", status: StreamStatus = StreamStatus.LIVE, **changes: Any
) -> StatusNote:
    fields: dict[str, Any] = {
        "stream_id": stream_id,
        "session": "s1",
        "epoch": 1,
        "note_seq": 0,
        "entry_us": START_NS // 1000 - 1,
        "status": status,
        "reason": "",
        "detail": "",
        "noted_at_ns": START_NS,
        "ready": Mark("test", 0),
    }
    return StatusNote(**(fields | changes))


def event(number: int) -> Event:
    """An event of a number, of the stream `cam`."""
    return Event(
        id=event_id(
            stream_id="cam",
            epoch=1,
            model_id="sha256:m",
            type=EventType.STREAM_STATUS,
            label="live",
            start_seq=number,
            revision=0,
        ),
        source="/streams/cam",
        type=EventType.STREAM_STATUS,
        time=rfc3339(1_767_225_600_123_456_789),
        sequence=sequence_text(number),
        data=StatusData(
            frame=FrameRef(epoch=1, seq=number, pts_seconds=0.5),
            timing=Timing(captured_ns="1", received_ns="2", emitted_ns="3", clock=ClockSource.HOST),
            latency=Ledger(decode_seconds=0.001),
            pipeline_seconds=0.001,
            model_id="sha256:m",
            encoder_id="sha256:e",
            state=StreamStatus.LIVE,
            reason="",
            detail="",
        ),
    )
