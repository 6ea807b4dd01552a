"""Entries that no encoder writes, put into the input log as if one had."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.core.feature import FeatureChunk
from streamer.transport.codec import encode_input, read_entry
from streamer.transport.connection import call
from tests.faults.mutants.sitecustomize import POISON

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    import redis

    from streamer.transport.keys import Keys


def poison(
    client: redis.Redis,
    stream_ids: Sequence[str],
    *,
    keys: Keys,
    random: Random,
    deadly: bool,
) -> tuple[str, int] | None:
    """Put one bad entry after some stream's last.

    Args:
        client: Straight to the server.
        stream_ids: Of which one is chosen.
        keys: Key names.
        random: Chooses.
        deadly: Whether it may be one that kills a worker whose model can be killed.

    Returns:
        Stream and position; None if the stream had no features yet.
    """
    stream_id = random.choice(list(stream_ids))
    rows: Any = client.xrevrange(keys.features(stream_id), count=20)
    chunks = (read_entry(stream_id, 0, fields[b"e"]) for _, fields in rows)
    last = next(
        (c.entry for c in chunks if isinstance(getattr(c, "entry", None), FeatureChunk)), None
    )
    source: Any = client.hmget(keys.source(stream_id), "session", "epoch", "last_us")
    session, epoch, last_us = source
    if not isinstance(last, FeatureChunk) or session is None or last_us is None:
        return None
    position = int(last_us) + 1
    payload = _payload(last, position, random, deadly=deadly)
    names = [keys.source(stream_id), keys.features(stream_id), keys.frames(stream_id) + ":none"]
    entry = (session, epoch, position, -1, payload)
    ((answer, _),) = call(client, "publish", [*names, keys.state(stream_id)], 10**9, *entry)
    if answer not in (b"accepted", b"duplicate", b"fenced"):  # the last two: somebody was quicker
        raise AssertionError(f"publish takes no poison: {answer}")
    return (stream_id, position) if answer == b"accepted" else None


def _payload(last: FeatureChunk, position: int, random: Random, *, deadly: bool) -> bytes:
    features = last.features[-1:]
    chunk = replace(
        last,
        first_seq=last.first_seq + len(last),
        entry_us=position,
        features=features,
        pts_seconds=last.pts_seconds[-1:] + 0.001,
        captured_at_ns=last.captured_at_ns[-1:],
        received_at_ns=last.received_at_ns[-1:],
        latency=last.latency[-1:],
    )
    raw = encode_input(chunk)
    bad = [
        random.randbytes(50),
        raw[:-9],
        encode_input(replace(chunk, encoder_id="sha256:another")),
        encode_input(replace(chunk, features=features[:, :7])),
        encode_input(replace(chunk, features=np.full_like(features, np.nan))),
        encode_input(replace(chunk, stream_id="another")),
        encode_input(replace(chunk, first_seq=0, epoch=0)),
    ]
    if deadly:
        fatal = features.copy()
        fatal[0, : len(POISON)] = POISON
        return encode_input(replace(chunk, features=fatal))
    return random.choice(bad)
