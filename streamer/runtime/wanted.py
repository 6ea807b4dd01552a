"""What is to become of the streams: to be read, to be paused, to be removed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from streamer.core.feature import StreamStatus
from streamer.telemetry.records.every import InputRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.telemetry.observer import Observer
    from streamer.transport.registry import StreamEntry, StreamRegistry

REMEMBER_SECONDS = 60.0
"""For so long a worker remembers what is over: longer than Redis' writes may be lost."""


class WantedStreams:
    """The registry, as an ingest worker saw it last.

    Attributes:
        sources: By stream, what is to be read.
        stopping: By stream that is paused or removed, what somebody still has to say of it.
    """

    def __init__(
        self,
        registry: StreamRegistry,
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._observer = observer
        self._clock = clock
        self._entries: dict[str, StreamEntry] = {}
        self._done: dict[str, tuple[float, StreamEntry]] = {}
        self._in_doubt = False
        self.sources: dict[str, bytes] = {}
        self.stopping: dict[str, StreamStatus] = {}

    def doubt(self) -> None:
        """The connection was lost: Redis may have lost what is over."""
        self._in_doubt = True

    def refresh(self) -> None:
        """Read the registry."""
        entries, unreadable = self._registry.read()
        for stream_id, why in unreadable.items():
            self._observer.observe(InputRefused(stream_id, "registry", why))
        finished = self._registry.finished()
        now = self._clock()
        self._done = {s: d for s, d in self._done.items() if now - d[0] < REMEMBER_SECONDS}
        self._entries = entries
        if self._in_doubt:
            # Nobody is to begin again what is over.
            for stream_id, (_, entry) in list(self._done.items()):
                if entries.get(stream_id) == entry:
                    self.conclude(stream_id, source=bytes(entry.source))
                    del entries[stream_id]
            self._in_doubt = False
        self.sources, self.stopping = {}, {}
        for stream_id, entry in entries.items():
            over = finished.get(stream_id) == bytes(entry.source)
            if entry.removed:
                self.stopping[stream_id] = StreamStatus.ENDED
            elif entry.paused and not entry.pause_said and not over:
                self.stopping[stream_id] = StreamStatus.PAUSED
            elif not entry.paused and not over:
                self.sources[stream_id] = bytes(entry.source)

    def source(self, stream_id: str) -> bytes:
        """What a stream is read from, or was; one that is in `sources` or `stopping`."""
        return bytes(self._entries[stream_id].source)

    def conclude(self, stream_id: str, *, source: bytes) -> None:
        """Nothing more is to come of a stream: it was removed, paused, or read to its end.

        Args:
            stream_id: Which.
            source: What of it was read. If another is wanted by now, that is still to come.
        """
        entry = self._entries.get(stream_id)
        if entry is None:
            return
        if entry.removed:
            self._registry.discard(stream_id, entry)
        elif entry.paused:
            self._registry.say_paused(stream_id, entry)
        elif bytes(entry.source) == source:
            self._registry.finish(stream_id, source)
        else:
            return
        self._done[stream_id] = self._clock(), entry
        self.stopping.pop(stream_id, None)
        self.sources.pop(stream_id, None)
