"""When a checkpoint is kept for replay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.core.state import Checkpoint


class Anchors:
    """Knows the last anchor of each stream.

    Args:
        replay_seconds: How far back a replay is to reach; 0: no anchors are kept.
    """

    def __init__(self, *, replay_seconds: float) -> None:
        self._replay_us = replay_seconds * 1e6
        self._anchored_us: dict[str, int] = {}

    def drop(self, stream_id: str) -> None:
        """A stream is no longer held: its next step keeps one."""
        self._anchored_us.pop(stream_id, None)

    def take(self, before: Checkpoint, *, first_position: int) -> Checkpoint | None:
        """The checkpoint a step starts from, if it is time to keep one.

        It stands right before the step's first entry, so that it is kept as long as that one (the
        first of all, and the first after a pause, would be trimmed at once), and so that a replay
        can tell whether that one is still there.
        """
        stream_id, position = before.state.stream_id, first_position - 1
        last_us = self._anchored_us.get(stream_id)
        due = last_us is None or position - last_us >= self._replay_us / 4
        if not self._replay_us or not due:
            return None
        self._anchored_us[stream_id] = position
        return replace(before, position=position)
