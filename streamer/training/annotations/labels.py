"""The classes of a dataset, and what a model is to say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from streamer.training.annotations.annotation import Annotation

BACKGROUND = "background"
"""The phase of frames that no annotated phase covers."""


@dataclass(frozen=True, slots=True)
class Labels:
    """The classes, in the order of the model's outputs: phases, then actions."""

    phases: tuple[str, ...]
    actions: tuple[str, ...]

    def targets(
        self, annotations: Iterable[Annotation], pts_T: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the model is to say at each time.

        Args:
            annotations: Of one video.
            pts_T: Presentation times, seconds.

        Returns:
            int64 (T,) index of the phase, where no phase holds that of `BACKGROUND`, or -1 if there
            is no such phase; and float32 (T, A), 1 where an action holds.
        """
        rest = self.phases.index(BACKGROUND) if BACKGROUND in self.phases else -1
        phases_T = np.full(len(pts_T), rest, np.int64)
        actions_TA = np.zeros((len(pts_T), len(self.actions)), np.float32)
        for note in annotations:
            held = (pts_T >= note.start_seconds) & (pts_T < note.end_seconds)
            if note.kind is Kind.PHASE:
                phases_T[held] = self.phases.index(note.label)
            else:
                actions_TA[held, self.actions.index(note.label)] = 1.0
        return phases_T, actions_TA


def find_labels(by_video: Mapping[Path, Sequence[Annotation]]) -> Labels:
    """The classes that occur, sorted.

    Raises:
        ConfigError: A label is a phase here and an action there.
    """
    notes = [note for annotations in by_video.values() for note in annotations]
    phases = sorted({note.label for note in notes if note.kind is Kind.PHASE})
    actions = sorted({note.label for note in notes if note.kind is Kind.ACTION})
    if both := set(phases) & set(actions):
        raise ConfigError(f"label {min(both)!r}: expected one kind, found it as phase and action")
    return Labels(tuple(phases), tuple(actions))
