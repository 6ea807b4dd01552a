"""Core types ↔ versioned bytes.

MessagePack with the arrays as raw little-endian bytes. The tag names type and version; bytes of
another version are refused, never guessed at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.clock import ClockSource, Mark
from streamer.core.errors import StateError, TransportError
from streamer.core.feature import LEDGER_COLUMNS, FeatureChunk, StatusNote, StreamStatus
from streamer.core.frame import FrameStamp
from streamer.core.state import AnomalyState, DecoderState, OpenSegment, StreamState
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


class _StateWire(msgspec.Struct, frozen=True, array_like=True, tag="state/1"):
    stream_id: str
    model_id: str
    encoder_id: str
    row: int
    epoch: int
    next_seq: int
    sequence: int
    last_pts_seconds: float
    last_captured_ns: int
    shape_LH: tuple[int, int]
    hidden: bytes
    cell: bytes
    smoothed: bytes
    rise_seq: bytes
    rise_ns: bytes
    rise_pts: bytes
    phase: OpenSegment | None
    candidate: OpenSegment | None
    actions: tuple[OpenSegment, ...]


class _WatchedStateWire(msgspec.Struct, frozen=True, array_like=True, tag="watched/1"):
    """A state with that of the watch for anomalies beside it: an older reader refuses it."""

    anomaly: AnomalyState
    state: _StateWire


_encoder = msgspec.msgpack.Encoder()
_path_decoder = msgspec.msgpack.Decoder(StampWire | _NoteWire)
_input_decoder = msgspec.msgpack.Decoder(_ChunkWire | _NoteWire)
_state_decoder = msgspec.msgpack.Decoder(_StateWire | _WatchedStateWire)


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


def read_entry(stream_id: str, position: int, payload: bytes) -> LogEntry | Unreadable:
    """What an entry's bytes mean."""
    try:
        return LogEntry(position, payload, decode_input(payload))
    except TransportError as error:
        return Unreadable(stream_id, position, payload, str(error))


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


def encode_state(state: StreamState) -> bytes:
    """Bytes of a stream's state."""
    decoder = state.decoder
    num_layers, hidden_dim = state.hidden_LH.shape
    wire = _StateWire(
        state.stream_id,
        state.model_id,
        state.encoder_id,
        state.row,
        state.epoch,
        state.next_seq,
        state.sequence,
        state.last_pts_seconds,
        state.last_captured_ns,
        (num_layers, hidden_dim),
        state.hidden_LH.tobytes(),
        state.cell_LH.tobytes(),
        decoder.smoothed_C.tobytes(),
        decoder.rise_seq_C.tobytes(),
        decoder.rise_ns_C.tobytes(),
        decoder.rise_pts_C.tobytes(),
        decoder.phase,
        decoder.candidate,
        decoder.actions,
    )
    return _encoder.encode(
        wire if state.anomaly is None else _WatchedStateWire(state.anomaly, wire)
    )


def decode_state(raw: bytes) -> StreamState:
    """A stream's state.

    Raises:
        StateError: Not a state of this version, or its arrays don't fit each other.
    """
    try:
        wire = _state_decoder.decode(raw)
        anomaly = None
        if isinstance(wire, _WatchedStateWire):
            anomaly, wire = wire.anomaly, wire.state
        return StreamState(
            stream_id=wire.stream_id,
            model_id=wire.model_id,
            encoder_id=wire.encoder_id,
            row=wire.row,
            epoch=wire.epoch,
            next_seq=wire.next_seq,
            sequence=wire.sequence,
            last_pts_seconds=wire.last_pts_seconds,
            last_captured_ns=wire.last_captured_ns,
            hidden_LH=np.frombuffer(wire.hidden, np.float32).reshape(wire.shape_LH),
            cell_LH=np.frombuffer(wire.cell, np.float32).reshape(wire.shape_LH),
            decoder=DecoderState(
                smoothed_C=np.frombuffer(wire.smoothed, np.float32),
                rise_seq_C=np.frombuffer(wire.rise_seq, np.int64),
                rise_ns_C=np.frombuffer(wire.rise_ns, np.int64),
                rise_pts_C=np.frombuffer(wire.rise_pts, np.float64),
                phase=wire.phase,
                candidate=wire.candidate,
                actions=wire.actions,
            ),
            anomaly=anomaly,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateError(f"stored state: unreadable ({error})") from error


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
