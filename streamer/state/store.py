"""The contract of a checkpoint store."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.core.state import Checkpoint, Commit


class CommitAnswer(StrEnum):
    """What the store says to a commit."""

    OK = "ok"
    DONE = "done"
    """The very same step had been committed before."""
    STALE = "stale"
    """The stored version is another: load the stream again."""
    FENCED = "fenced"
    """The caller does not own the partition's lease."""


class CheckpointStore(Protocol):
    """Where states live, and how they change."""

    def acquire(self, *, owner: str, ttl_seconds: float) -> int | None:
        """Take or renew the partition's lease. Returns its generation, None if another has it."""
        ...

    def release(self, *, owner: str) -> None:
        """Give the lease back."""
        ...

    def load(self, stream_id: str) -> Checkpoint | None:
        """The stored checkpoint, None for a stream that has none.

        Raises:
            StateError: What is stored is not a checkpoint of this version.
        """
        ...

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write states, positions and events, each stream all or nothing, by compare-and-set."""
        ...
