"""What a camera delivers, told when it begins and whenever that changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.telemetry.records.ingest import ClockOffset, StreamDescribed

if TYPE_CHECKING:
    from streamer.core.clock import ClockSource, Mark
    from streamer.sources.source import DecodedFrame
    from streamer.telemetry.observer import Observer

OFFSET_SECONDS = 5.0
"""How often the offset of a camera's clock is told."""


class Portrait:
    """Looks at a camera's analysed frames. Used by its thread.

    Args:
        stream_id: The camera.
        kind: Of its source; see `kind_of`.
        observer: Is told.
    """

    def __init__(self, stream_id: str, *, kind: str, observer: Observer) -> None:
        self._stream_id = stream_id
        self._kind = kind
        self._observer = observer
        self._told: tuple[tuple[int, int], ClockSource] | None = None
        self._offset_at: Mark | None = None

    def look(self, decoded: DecodedFrame, *, now: Mark) -> None:
        """At one frame."""
        told = decoded.size, decoded.clock
        if told != self._told:
            self._told = told
            width, height = decoded.size
            self._observer.observe(
                StreamDescribed(
                    stream_id=self._stream_id,
                    kind=self._kind,
                    width=width,
                    height=height,
                    clock=decoded.clock.value,
                )
            )
        if decoded.camera_at_ns is not None and self._is_due(now):
            self._offset_at = now
            # Of two clocks, but no duration: how far they are apart is what is asked for.
            offset_seconds = (decoded.camera_at_ns - decoded.received_at_ns) * 1e-9
            self._observer.observe(ClockOffset(self._stream_id, offset_seconds))

    def _is_due(self, now: Mark) -> bool:
        at = self._offset_at
        return at is None or now.seconds_since(at, otherwise=now) >= OFFSET_SECONDS
