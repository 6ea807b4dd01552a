"""The workers' own books: frames offered = admitted + dropped by reason."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from streamer.core.feature import FeatureChunk
from streamer.transport.transport import LogEntry
from tests.faults.evidence import encoded

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tests.faults.evidence import Evidence
    from tests.faults.farm import Farm


def books_of(farm: Farm) -> dict[str, float] | None:
    """Frames analysed, and dropped by reason, of all workers; None if one has ended on the way."""
    books: Counter[str] = Counter()
    for (role, _), post in farm.posts.items():
        if role == "temporal":
            continue
        if post.ended:
            return None
        metrics = post.metrics()
        if not metrics:
            return None
        for name, value in metrics.items():
            if name[0] == "streamer_frames_dropped_total":
                books[name[1]] += int(value)
            elif name == ("streamer_frames_total", "analysed"):
                books["analysed"] += int(value)
    return dict(books)


def judge_accounts(
    accounts: Mapping[str, float] | None,
    evidence: Evidence,
    injected: Collection[tuple[str, int]],
) -> list[str]:
    """Offered = admitted + dropped by reason, where no worker took its books with it.

    Exact as long as no stream is opened a second time. When one is, frames on their way from one
    worker to the next may be counted by both or by neither: then nothing is judged.
    """
    if accounts is None:
        return []
    chunks = [
        entry.entry
        for own in encoded(evidence, injected).values()
        for entry in own
        if isinstance(entry, LogEntry) and isinstance(entry.entry, FeatureChunk)
    ]
    admitted = sum(map(len, chunks))
    last_epochs: Counter[str] = Counter()
    for chunk in chunks:
        last_epochs[chunk.stream_id] = max(last_epochs[chunk.stream_id], chunk.epoch)
    if any(epoch > 1 for epoch in last_epochs.values()):
        return []
    dropped = sum(n for name, n in accounts.items() if name != "analysed")
    if accounts["analysed"] == admitted + dropped:
        return []
    return [f"offered {accounts['analysed']:g} frames, {admitted} were admitted, {accounts}"]
