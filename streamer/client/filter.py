"""Which events a subscriber wants."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

_PREFIX = "streamer."


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Streams by name, types by pattern. Empty means all.

    Attributes:
        streams: Stream ids.
        types: Globs over CloudEvents types; `streamer.` may be left out: `action.*`.
    """

    streams: frozenset[str] = frozenset()
    types: tuple[str, ...] = ()

    def takes_stream(self, stream_id: str) -> bool:
        """Whether events of this stream are wanted."""
        return not self.streams or stream_id in self.streams

    def takes_type(self, type: str) -> bool:
        """Whether events of this type are wanted."""
        short = type.removeprefix(_PREFIX)
        return not self.types or any(
            fnmatchcase(type, pattern) or fnmatchcase(short, pattern) for pattern in self.types
        )
