"""The streams of an encoder worker: which they are, and which of their frames never came."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.telemetry.records.every import InputRefused, StreamTakenUp

if TYPE_CHECKING:
    from streamer.core.config import EncoderSettings
    from streamer.core.frame import FrameStamp
    from streamer.telemetry.observer import Observer
    from streamer.transport.registry import StreamRegistry

LINGER_SECONDS = 10.0
"""How long an encoder still looks after a stream that was removed."""


class Shard:
    """An encoder's share of the streams that are to be watched.

    Used by one thread, but for `stream_ids`.
    """

    def __init__(
        self, registry: StreamRegistry, *, settings: EncoderSettings, observer: Observer
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._observer = observer
        self._mine_until: dict[str, float] = {}
        self._last_seen: dict[str, tuple[int, int]] = {}
        self._starting = True

    @property
    def stream_ids(self) -> list[str]:
        """Those that are ours now. From any thread: it is a copy, made in one step."""
        return list(self._mine_until)

    def refresh(self, *, now_seconds: float) -> list[str]:
        """Look which streams are ours; return those that no longer are.

        Raises:
            TransportError: Redis does not answer.
        """
        desired, unreadable = self._registry.read()
        for stream_id, why in unreadable.items():
            self._observer.observe(InputRefused(stream_id, "registry", why))
        shard, shards = self._settings.shard, self._settings.shards
        mine = {stream_id for stream_id, entry in desired.items() if entry.slot % shards == shard}
        for stream_id in mine - self._mine_until.keys():
            if not self._starting:
                # Nobody else encoded their first frames: should they be missing, that is a hole.
                self._last_seen.setdefault(stream_id, (0, -1))
            self._observer.observe(StreamTakenUp(stream_id))
        self._starting = False
        # The last frames of a removed source, and the note of its end, are still on their way.
        self._mine_until.update(dict.fromkeys(mine, now_seconds + LINGER_SECONDS))
        gone = [s for s, until in self._mine_until.items() if until < now_seconds]
        for stream_id in gone:
            del self._mine_until[stream_id]
            self._last_seen.pop(stream_id, None)
        return gone

    def missing_before(self, stamp: FrameStamp) -> int:
        """Note that a frame has come; return how many before it never did: a hole in seq."""
        seen = self._last_seen.get(stamp.stream_id)
        self._last_seen[stamp.stream_id] = (stamp.epoch, stamp.seq)
        if seen is None:
            return 0  # those before may have been another encoder's
        first = seen[1] + 1 if seen[0] == stamp.epoch else 0
        return max(0, stamp.seq - first)
