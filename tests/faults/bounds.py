"""How much Redis may hold, by the configuration, and where it holds more.

Everything that has a setting is held to it, whenever a run is looked at: the input log of a stream,
its frame path, a partition's events and dead letters. The bytes are held to what these make, with
twice the room that an entry of the tests' model needs. What is kept on purpose, to be judged (the
input log of a run that retains it, and the events), counts with what there is of it in the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer.core.config import IngestSettings, RedisSettings
from streamer.transport.frame_sender import NUM_NOTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import redis

    from streamer.transport.keys import Keys

SLACK = 100
"""Entries by which Redis may miss a length that is trimmed with `~`: a node of a stream."""

SERVER_BYTES = 8e6
"""Functions, connections and their buffers, a replica's backlog: of what no setting here bounds."""

STREAM_BYTES = 100e3
"""A full frame path, the states kept for replay, what is known of source and lease."""

ENTRY_BYTES = 700.0
EVENT_BYTES = 3000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Of a run.

    Attributes:
        features: Entries of a stream's input log.
        frames: Entries of a stream's frame path.
        events: Of a partition.
        dead: Of a partition.
    """

    features: int
    frames: int
    events: int
    dead: int

    @classmethod
    def of(cls, settings: Mapping[str, object]) -> Bounds:
        """Those that workers with these settings promise."""

        def value(section: Any, name: str) -> int:
            prefix = section.__name__.removesuffix("Settings").lower()
            default = section.model_fields[name].default
            return int(settings.get(f"{prefix}.{name}", default))  # type: ignore[call-overload]

        return cls(
            features=value(RedisSettings, "max_unread_entries"),
            frames=value(IngestSettings, "frame_slots") + NUM_NOTES,
            events=value(RedisSettings, "max_events") + SLACK,
            dead=value(RedisSettings, "max_dead_letters") + SLACK,
        )

    def exceeded(
        self, client: redis.Redis, stream_ids: Sequence[str], *, keys: Keys
    ) -> dict[str, int]:
        """Keys that hold more than they may, and how much."""
        limits = {keys.features(stream_id): self.features for stream_id in stream_ids}
        limits |= {keys.frames(stream_id): self.frames for stream_id in stream_ids}
        for partition in {keys.partition(stream_id) for stream_id in stream_ids}:
            limits |= {keys.events(partition): self.events, keys.dead(partition): self.dead}
        pipeline = client.pipeline(transaction=False)
        for key in limits:
            pipeline.xlen(key)
        lengths = zip(limits, pipeline.execute(), strict=True)
        return {key: length for key, length in lengths if length > limits[key]}

    def most_bytes(self, *, num_streams: int, num_entries: int, num_events: int) -> float:
        """What a server may need at most.

        Args:
            num_streams: Of the run.
            num_entries: Of the input log, all that were ever in it.
            num_events: Of the event log.
        """
        entries = min(num_entries, num_streams * self.features)
        return (
            SERVER_BYTES
            + num_streams * STREAM_BYTES
            + entries * ENTRY_BYTES
            + num_events * EVENT_BYTES
        )
