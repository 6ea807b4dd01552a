"""A stream's state ↔ versioned bytes, as in `codec`.

A state without a phase filter is of version 1, one with it of version 2: a reader that knows no
filter refuses it. The state of a watch for anomalies stands beside either, and so do frames that
wait for a look ahead: without them the bytes are those that a reader without look-ahead knows.
"""

from __future__ import annotations

import msgspec
import numpy as np

from streamer.core.errors import StateError
from streamer.core.state import (
    AnomalyState,
    DecoderState,
    FilterState,
    LookaheadState,
    OpenSegment,
    StreamState,
    WaitingFrame,
)


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


class _FilterWire(msgspec.Struct, frozen=True, array_like=True):
    num_phases: int
    forward: bytes
    evidence: bytes
    seq: bytes
    ns: bytes
    pts: bytes
    announced: tuple[OpenSegment, ...]


class _FilteredStateWire(_StateWire, frozen=True, array_like=True, tag="state/2"):
    filter: _FilterWire


class _WatchedStateWire(msgspec.Struct, frozen=True, array_like=True, tag="watched/1"):
    anomaly: AnomalyState
    state: _StateWire | _FilteredStateWire


class _AheadStateWire(msgspec.Struct, frozen=True, array_like=True, tag="ahead/1"):
    projection_dim: int
    frames: tuple[WaitingFrame, ...]
    inputs: bytes
    state: _StateWire | _FilteredStateWire


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(
    _StateWire | _FilteredStateWire | _WatchedStateWire | _AheadStateWire
)


def encode_state(state: StreamState) -> bytes:
    """Bytes of a stream's state.

    Raises:
        ValueError: It has a watch for anomalies and looks ahead: no model does both.
    """
    if state.anomaly is not None and state.lookahead is not None:
        raise ValueError("expected a state of a watch for anomalies or of a look ahead, found both")
    decoder = state.decoder
    num_layers, hidden_dim = state.hidden_LH.shape
    plain = (
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
    wire = (
        _StateWire(*plain)
        if decoder.filter is None
        else _FilteredStateWire(*plain, _filter_wire(decoder.filter))
    )
    if state.anomaly is not None:
        return _encoder.encode(_WatchedStateWire(state.anomaly, wire))
    if state.lookahead is not None:
        return _encoder.encode(_ahead_wire(state.lookahead, wire))
    return _encoder.encode(wire)


def decode_state(raw: bytes) -> StreamState:
    """A stream's state.

    Raises:
        StateError: Not a state of this version, or its arrays don't fit each other.
    """
    try:
        wire = _decoder.decode(raw)
        anomaly = lookahead = None
        if isinstance(wire, _WatchedStateWire):
            anomaly, wire = wire.anomaly, wire.state
        elif isinstance(wire, _AheadStateWire):
            lookahead, wire = _lookahead(wire), wire.state
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
                filter=_filter(wire.filter) if isinstance(wire, _FilteredStateWire) else None,
            ),
            anomaly=anomaly,
            lookahead=lookahead,
        )
    except (msgspec.MsgspecError, ValueError) as error:
        raise StateError(f"stored state: unreadable ({error})") from error


def _ahead_wire(state: LookaheadState, wire: _StateWire | _FilteredStateWire) -> _AheadStateWire:
    return _AheadStateWire(state.inputs_WP.shape[1], state.frames, state.inputs_WP.tobytes(), wire)


def _lookahead(wire: _AheadStateWire) -> LookaheadState:
    inputs = np.frombuffer(wire.inputs, np.float32)
    return LookaheadState(wire.frames, inputs.reshape(len(wire.frames), wire.projection_dim))


def _filter_wire(state: FilterState) -> _FilterWire:
    return _FilterWire(
        state.evidence_WP.shape[1],
        state.forward_S.tobytes(),
        state.evidence_WP.tobytes(),
        state.seq_W.tobytes(),
        state.ns_W.tobytes(),
        state.pts_W.tobytes(),
        state.announced,
    )


def _filter(wire: _FilterWire) -> FilterState:
    seq_W = np.frombuffer(wire.seq, np.int64)
    return FilterState(
        forward_S=np.frombuffer(wire.forward, np.float64),
        evidence_WP=np.frombuffer(wire.evidence, np.float32).reshape(len(seq_W), wire.num_phases),
        seq_W=seq_W,
        ns_W=np.frombuffer(wire.ns, np.int64),
        pts_W=np.frombuffer(wire.pts, np.float64),
        announced=wire.announced,
    )
