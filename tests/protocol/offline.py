"""The event log as it must be: the input log folded in one go, with no store and no worker."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from streamer.core.clock import Mark
from streamer.core.event import decode_event, encode_event
from streamer.core.ledger import Ledger
from streamer.stages.temporal import TemporalStage
from streamer.transport.codec import read_entry
from streamer.transport.transport import Refusal, Unreadable
from tests.models import LeakyModel, bundle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.core.event import Event
    from streamer.core.state import Checkpoint, DeadLetter


@dataclass(frozen=True)
class Step:
    """A stream after one more entry, and what that said."""

    after: Checkpoint
    events: tuple[bytes, ...] = ()
    letters: tuple[DeadLetter, ...] = ()


def untimed(event: Event) -> bytes:
    """An event without what depends on when it was computed."""
    return encode_event(event.emitted(latency=Ledger(), at_ns=0))


def untimed_json(raw: bytes) -> bytes:
    return untimed(decode_event(raw))


class OfflineFold:
    """Folds entry by entry. What it has folded before, it remembers."""

    def __init__(self) -> None:
        self._stage = TemporalStage(bundle(), LeakyModel(4))
        self._known: dict[bytes, Step] = {}

    def fold(
        self, stream_id: str, rows: Sequence[tuple[int, bytes]], *, poison: Mapping[int, str]
    ) -> list[Step]:
        """The stream before the first entry, and after each.

        Args:
            stream_id: The stream.
            rows: Position and bytes of each entry.
            poison: By position, why an entry is to be left out: that, no input decides.
        """
        steps = [Step(self._stage.initial(stream_id, row=0))]
        name = sha256(stream_id.encode()).digest()
        for position, payload in rows:
            why = poison.get(position)
            name = sha256(name + f"{position} {why}\n".encode() + payload).digest()
            step = self._known.get(name)
            if step is None:
                step = self._known[name] = self._step(steps[-1].after, position, payload, why)
            steps.append(step)
        return steps

    def _step(self, before: Checkpoint, position: int, payload: bytes, why: str | None) -> Step:
        stream_id = before.state.stream_id
        entry = read_entry(stream_id, position, payload)
        if why is not None:
            entry = Unreadable(stream_id, position, payload, why, Refusal.POISON)
        (advanced,) = self._stage.advance([(before, [entry])], taken=Mark("offline", 0))
        events = tuple(untimed(event) for event in advanced.events)
        return Step(advanced.after, events, advanced.dead_letters)
