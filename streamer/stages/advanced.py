"""What a step made of a stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamer.core.event import Event
    from streamer.core.ledger import Ledger
    from streamer.core.state import Checkpoint, DeadLetter


@dataclass(frozen=True, slots=True)
class Advanced:
    """A stream's step: where it started, where it is now, what it said."""

    before: Checkpoint
    after: Checkpoint
    events: tuple[Event, ...]
    frames: tuple[Ledger, ...]
    """The ledger of each frame folded in, up to `feature_wait_seconds`."""
    dead_letters: tuple[DeadLetter, ...] = ()
    """What was refused on the way."""
