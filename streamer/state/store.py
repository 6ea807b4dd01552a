"""The contract of a checkpoint store."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from streamer.core.state import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from streamer.core.errors import StateError
    from streamer.core.state import Commit, StreamState


class CommitAnswer(StrEnum):
    """What the store says to a commit."""

    OK = "ok"
    DONE = "done"
    """The very same step had been committed before."""
    STALE = "stale"
    """The stored version is another: load the stream again."""
    FENCED = "fenced"
    """The caller does not own the partition's lease."""
    FOREIGN = "foreign"
    """A key of the stream holds something that is not ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What the store has of a stream.

    Attributes:
        version: Of the checkpoint; empty if there is none.
        position: Of the checkpoint.
        sequence: Number of the stream's next event.
        attempts: How often the next step has been begun without an end.
        raw: The state's bytes.
        state: What they mean; None if there are none, or if they can't be read.
        damage: Why they can't be read; empty if they can.
    """

    version: bytes = b""
    position: int = 0
    sequence: int = 0
    attempts: int = 0
    raw: bytes = b""
    state: StreamState | None = None
    damage: str = ""

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint, if there is one that can be read."""
        if self.state is None:
            return None
        return Checkpoint(state=self.state, position=self.position, version=self.version)


class CheckpointStore(Protocol):
    """Where states live, and how they change."""

    def load(self, stream_ids: Collection[str]) -> dict[str, Stored | StateError]:
        """What is stored of each stream; an error for one whose key is not ours."""
        ...

    def versions(self, stream_ids: Collection[str]) -> dict[str, bytes]:
        """The stored version of each stream; empty where there is none."""
        ...

    def attempt(self, attempts: Mapping[str, int]) -> None:
        """Before a step that may kill the worker: how often it has now been begun."""
        ...

    def commit(self, commits: Sequence[Commit], *, owner: str) -> list[CommitAnswer]:
        """Write states, positions and events, each stream all or nothing, by compare-and-set."""
        ...
