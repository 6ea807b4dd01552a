"""Which events a subscriber wants."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from streamer.client.saying import Said, saying_of
from streamer.core.event import EventType, Status

if TYPE_CHECKING:
    from streamer.client.log import LoggedEvent
    from streamer.core.event import Event

_PREFIX = "streamer."
_ENDS = frozenset({EventType.ACTION_END, EventType.ANOMALY_END})


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Streams and types by pattern, and how sure an event must be. Empty means all.

    `min_confidence` is for what begins or goes on. Ends, retractions, the leaving of the last
    phase, and events without a confidence always pass: who has seen a start must see its end.

    Attributes:
        streams: Globs over stream ids: `cam*`.
        types: Globs over CloudEvents types; `streamer.` may be left out: `action.*`.
        min_confidence: 0–1.
    """

    streams: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    min_confidence: float = 0.0

    def takes(self, event: LoggedEvent) -> bool:
        """Whether an entry of the log is wanted.

        Raises:
            TransportError: It must be read to know, and is no event.
        """
        if not (self.takes_stream(event.stream_id) and self.takes_type(event.type)):
            return False
        if not self.min_confidence or event.type in _ENDS:
            return True
        return self._is_sure(saying_of(event).data)

    def takes_said(self, event: Event) -> bool:
        """Whether an event of a wanted stream is wanted."""
        if not self.takes_type(event.type):
            return False
        if not self.min_confidence or event.type in _ENDS:
            return True
        data = event.data
        said = Said(
            label=getattr(data, "label", ""),
            confidence=getattr(data, "confidence", None),
            status=getattr(data, "status", ""),
        )
        return self._is_sure(said)

    def takes_stream(self, stream_id: str) -> bool:
        """Whether events of this stream are wanted."""
        return not self.streams or any(
            stream_id == pattern or fnmatchcase(stream_id, pattern) for pattern in self.streams
        )

    def takes_type(self, type: str) -> bool:
        """Whether events of this type are wanted."""
        short = type.removeprefix(_PREFIX)
        return not self.types or any(
            fnmatchcase(type, pattern) or fnmatchcase(short, pattern) for pattern in self.types
        )

    def _is_sure(self, said: Said) -> bool:
        return (
            said.confidence is None
            or said.confidence >= self.min_confidence
            or said.label is None
            or said.status == Status.RETRACTED
        )
