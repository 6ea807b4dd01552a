"""From a batch of frames to feature chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.feature import FeatureChunk

if TYPE_CHECKING:
    from streamer.core.clock import Mark
    from streamer.core.frame import FrameBatch


def assemble_chunks(
    batch: FrameBatch,
    features_ND: np.ndarray,
    *,
    encoder_id: str,
    taken: Mark,
    ready: Mark,
) -> list[FeatureChunk]:
    """Cut a batch's features into chunks: per stream, runs of consecutive frames of one epoch.

    Args:
        batch: The frames; those of one stream in seq order.
        features_ND: float16 (N, D), row by row.
        encoder_id: Who made them.
        taken: When the batch was taken.
        ready: When the features were there.

    Returns:
        The chunks, those of one stream in order.
    """
    encode_seconds = ready.seconds_since(taken, otherwise=ready)
    runs: dict[str, list[list[int]]] = {}
    for row, stamp in enumerate(batch.stamps):
        of_stream = runs.setdefault(stamp.stream_id, [])
        last = batch.stamps[of_stream[-1][-1]] if of_stream else None
        follows = last is not None and (stamp.session, stamp.epoch, stamp.seq, stamp.clock) == (
            last.session,
            last.epoch,
            last.seq + 1,
            last.clock,
        )
        if follows:
            of_stream[-1].append(row)
        else:
            of_stream.append([row])
    return [
        _chunk(batch, features_ND, rows, encoder_id, encode_seconds, taken, ready)
        for of_stream in runs.values()
        for rows in of_stream
    ]


def _chunk(
    batch: FrameBatch,
    features_ND: np.ndarray,
    rows: list[int],
    encoder_id: str,
    encode_seconds: float,
    taken: Mark,
    ready: Mark,
) -> FeatureChunk:
    stamps = [batch.stamps[row] for row in rows]
    first, last = stamps[0], stamps[-1]
    latency = [
        (s.decode_seconds, taken.seconds_since(s.ready, otherwise=taken), encode_seconds)
        for s in stamps
    ]
    return FeatureChunk(
        stream_id=first.stream_id,
        session=first.session,
        epoch=first.epoch,
        first_seq=first.seq,
        entry_us=last.entry_us,
        features=np.ascontiguousarray(features_ND[rows]),
        pts_seconds=np.array([s.pts_seconds for s in stamps], np.float64),
        captured_at_ns=np.array([s.captured_at_ns for s in stamps], np.int64),
        received_at_ns=np.array([s.received_at_ns for s in stamps], np.int64),
        latency=np.array(latency, np.float32),
        clock=first.clock,
        encoder_id=encoder_id,
        ready=ready,
        traces=tuple((t, s.trace) for t, s in enumerate(stamps) if s.trace is not None),
    )
