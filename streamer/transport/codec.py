"""Core types ↔ versioned bytes.

MessagePack with the arrays as raw little-endian bytes. The tag names type and version; bytes of
another version are refused, never guessed at.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.errors import TransportError
from streamer.core.feature import LEDGER_COLUMNS, FeatureChunk, StatusNote, StreamStatus
from streamer.core.frame import FrameStamp
from streamer.core.trace import TraceContext
from streamer.transport.transport import LogEntry, Unreadable

if TYPE_CHECKING:
    from streamer.core.feature import InputEntry


class StampWire(msgspec.Struct, frozen=True, array_like=True, tag="frame/1"):
    """A frame stamp, and where its pixels are: in a ring's slot, or inline."""

    stream_id: str
    session: str
    epoch: int
    seq: int
    entry_us: int
    pts_seconds: float
    captured_at_ns: int
    received_at_ns: int
    clock: ClockSource
    decode_seconds: float
    ready_domain: str
    ready_ns: int
    shape: tuple[int, int, int]
    ring: str
    generation: int
    pixels: bytes
    traceparent: str | None = None
    """Absent in entries of those who do not know it, who pass over it in ours."""

    @classmethod
    def of(
        cls,
        stamp: FrameStamp,
        *,
        shape: tuple[int, ...],
        ring: str = "",
        generation: int = 0,
        pixels: bytes = b"",
    ) -> StampWire:
        """The wire form of a stamp."""
        height, width, channels = shape
        return cls(
            stamp.stream_id,
            stamp.session,
            stamp.epoch,
            stamp.seq,
            stamp.entry_us,
            stamp.pts_seconds,
            stamp.captured_at_ns,
            stamp.received_at_ns,
            stamp.clock,
            stamp.decode_seconds,
            stamp.ready.domain,
            stamp.ready.ns,
            (height, width, channels),
            ring,
            generation,
            pixels,
            None if stamp.trace is None else stamp.trace.traceparent,
        )

    def stamp(self) -> FrameStamp:
        """The stamp."""
        return FrameStamp(
            stream_id=self.stream_id,
            session=self.session,
            epoch=self.epoch,
            seq=self.seq,
            entry_us=self.entry_us,
            pts_seconds=self.pts_seconds,
            captured_at_ns=self.captured_at_ns,
            received_at_ns=self.received_at_ns,
            clock=self.clock,
            decode_seconds=self.decode_seconds,
            ready=Mark(self.ready_domain, self.ready_ns),
            trace=TraceContext.parse(self.traceparent),
        )


class _ChunkWire(msgspec.Struct, frozen=True, array_like=True, tag="features/1"):
    stream_id: str
    session: str
    epoch: int
    first_seq: int
    entry_us: int
    width: int
    features: bytes
    pts_seconds: bytes
    captured_at_ns: bytes
    received_at_ns: bytes
    latency: bytes
    clock: ClockSource
    encoder_id: str
    ready_domain: str
    ready_ns: int


class _NoteWire(msgspec.Struct, frozen=True, array_like=True, tag="note/1"):
    stream_id: str
    session: str
    epoch: int
    note_seq: int
    entry_us: int
    status: StreamStatus
    reason: str
    detail: str
    noted_at_ns: int
    ready_domain: str
    ready_ns: int
    frame_wait_seconds: float


_encoder = msgspec.msgpack.Encoder()
_path_decoder = msgspec.msgpack.Decoder(StampWire | _NoteWire)
_input_decoder = msgspec.msgpack.Decoder(_ChunkWire | _NoteWire)
_traces_decoder = msgspec.json.Decoder(list[tuple[int, str]])


def encode_stamp(wire: StampWire) -> bytes:
    """Bytes of a frame on its way to the encoder."""
    return _encoder.encode(wire)


def decode_path_entry(raw: bytes) -> StampWire | StatusNote:
    """What stands in the frame path.

    Raises:
        TransportError: Not an entry of this version.
    """
    try:
        wire = _path_decoder.decode(raw)
    except msgspec.MsgspecError as error:
        raise TransportError(f"frame path: unreadable entry ({error})", retryable=False) from error
    return _note(wire) if isinstance(wire, _NoteWire) else wire


def encode_input(entry: InputEntry) -> bytes:
    """Bytes of an input log entry. The same entry always gives the same bytes."""
    if isinstance(entry, StatusNote):
        return encode_note(entry)
    return _encoder.encode(
        _ChunkWire(
            entry.stream_id,
            entry.session,
            entry.epoch,
            entry.first_seq,
            entry.entry_us,
            entry.features.shape[1],
            entry.features.tobytes(),
            entry.pts_seconds.tobytes(),
            entry.captured_at_ns.tobytes(),
            entry.received_at_ns.tobytes(),
            entry.latency.tobytes(),
            entry.clock,
            entry.encoder_id,
            entry.ready.domain,
            entry.ready.ns,
        )
    )


def decode_input(raw: bytes) -> InputEntry:
    """An input log entry.

    Raises:
        TransportError: Not an entry of this version, or its arrays don't fit each other.
    """
    try:
        wire = _input_decoder.decode(raw)
        return _note(wire) if isinstance(wire, _NoteWire) else _chunk(wire)
    except (msgspec.MsgspecError, ValueError) as error:
        raise TransportError(f"input log: unreadable entry ({error})", retryable=False) from error


def read_entry(
    stream_id: str, position: int, payload: bytes, traces: bytes = b""
) -> LogEntry | Unreadable:
    """What an entry's bytes mean.

    Args:
        stream_id: Whose.
        position: Its place in the log.
        payload: Its bytes.
        traces: What `encode_traces` gave, if anything.
    """
    try:
        entry = decode_input(payload)
    except TransportError as error:
        return Unreadable(stream_id, position, payload, str(error))
    if traces and isinstance(entry, FeatureChunk):
        entry = replace(entry, traces=_traces(traces, num_rows=len(entry)))
    return LogEntry(position, payload, entry)


def encode_traces(entry: InputEntry) -> bytes:
    """The traces of an entry's sampled frames; empty if there are none.

    JSON beside the entry's bytes: the version of a state is a digest of those, and must not depend
    on who watches.
    """
    if isinstance(entry, StatusNote) or not entry.traces:
        return b""
    return msgspec.json.encode([(row, trace.traceparent) for row, trace in entry.traces])


def _traces(raw: bytes, *, num_rows: int) -> tuple[tuple[int, TraceContext], ...]:
    """Those that can be read: see `TraceContext.parse`."""
    try:
        rows = _traces_decoder.decode(raw)
    except msgspec.MsgspecError:
        return ()
    read = ((row, TraceContext.parse(traceparent)) for row, traceparent in rows)
    return tuple((row, trace) for row, trace in read if trace and 0 <= row < num_rows)


def encode_note(note: StatusNote) -> bytes:
    """Bytes of a status note, the same in the frame path and in the input log."""
    return _encoder.encode(
        _NoteWire(
            note.stream_id,
            note.session,
            note.epoch,
            note.note_seq,
            note.entry_us,
            note.status,
            note.reason,
            note.detail,
            note.noted_at_ns,
            note.ready.domain,
            note.ready.ns,
            note.frame_wait_seconds,
        )
    )


def _chunk(wire: _ChunkWire) -> FeatureChunk:
    return FeatureChunk(
        stream_id=wire.stream_id,
        session=wire.session,
        epoch=wire.epoch,
        first_seq=wire.first_seq,
        entry_us=wire.entry_us,
        features=np.frombuffer(wire.features, np.float16).reshape(-1, wire.width),
        pts_seconds=np.frombuffer(wire.pts_seconds, np.float64),
        captured_at_ns=np.frombuffer(wire.captured_at_ns, np.int64),
        received_at_ns=np.frombuffer(wire.received_at_ns, np.int64),
        latency=np.frombuffer(wire.latency, np.float32).reshape(-1, len(LEDGER_COLUMNS)),
        clock=wire.clock,
        encoder_id=wire.encoder_id,
        ready=Mark(wire.ready_domain, wire.ready_ns),
    )


def _note(wire: _NoteWire) -> StatusNote:
    return StatusNote(
        stream_id=wire.stream_id,
        session=wire.session,
        epoch=wire.epoch,
        note_seq=wire.note_seq,
        entry_us=wire.entry_us,
        status=wire.status,
        reason=wire.reason,
        detail=wire.detail,
        noted_at_ns=wire.noted_at_ns,
        ready=Mark(wire.ready_domain, wire.ready_ns),
        frame_wait_seconds=wire.frame_wait_seconds,
    )
