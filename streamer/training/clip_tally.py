"""What is counted in one clip, so that metrics of any choice of clips are sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.training.losses import UNKNOWN
from streamer.training.metrics import (
    Counts,
    edit_score,
    frame_counts,
    onset_errors,
    painted,
    segment_counts,
    stretches,
)
from streamer.training.metrics.frames import confusion_matrix

if TYPE_CHECKING:
    from streamer.training.annotations import Labels
    from streamer.training.dataset import Example
    from streamer.training.decoding import Decoded

OVERLAPS = (0.10, 0.25, 0.50)
ACTION_OVERLAP = 0.25


@dataclass(frozen=True, slots=True)
class PhaseTally:
    """Of the announced phases of a clip.

    Attributes:
        counts: Segments found, at each of `OVERLAPS`.
        edit: Edit score.
        onset_errors: Seconds, of each true onset; NaN where it was missed.
        right: Frames whose confirmed phase is the true one.
        known: Frames whose phase is known.
        delays_seconds: From a boundary to its first announcement.
        retracted: How many announcements were taken back.
        said: How many were confirmed.
    """

    counts: tuple[Counts, ...]
    edit: float
    onset_errors: tuple[float, ...]
    right: int
    known: int
    delays_seconds: tuple[float, ...]
    retracted: int
    said: int


def tally_phases(example: Example, clip: Decoded) -> PhaseTally:
    """Count a clip's phases, announced against true ones."""
    truth = stretches(example.phases_T, example.pts_T)
    said_T = painted(clip.phases, example.pts_T)
    return PhaseTally(
        counts=tuple(segment_counts(clip.phases, truth, overlap=overlap) for overlap in OVERLAPS),
        edit=edit_score(clip.phases, truth),
        onset_errors=tuple(onset_errors(clip.phases, truth)),
        right=int((said_T == example.phases_T).sum()),
        known=int((example.phases_T != UNKNOWN).sum()),
        delays_seconds=tuple(clip.delays_seconds),
        retracted=clip.retracted,
        said=len(clip.phases),
    )


def tally_action(example: Example, clip: Decoded, action: int) -> Counts:
    """Segments of an action found in a clip."""
    held_T = np.where(example.actions_TA[:, action] > 0, action, -1)
    said = [segment for segment in clip.actions if segment.label == action]
    return segment_counts(said, stretches(held_T, example.pts_T), overlap=ACTION_OVERLAP)


@dataclass(frozen=True, slots=True)
class ClipTally:
    """All that is counted in a clip.

    Attributes:
        num_frames: T.
        frames_PP: Frames of each true phase (row) by the most probable one (column).
        frame_actions: Frames of each action, by its output.
        phases: Of the announced phases.
        actions: Segments found of each action.
    """

    num_frames: int
    frames_PP: np.ndarray
    frame_actions: tuple[Counts, ...]
    phases: PhaseTally
    actions: tuple[Counts, ...]


def tally_clip(
    example: Example, logits_TC: np.ndarray, clip: Decoded, *, labels: Labels
) -> ClipTally:
    """Count a clip.

    Args:
        example: With the truth.
        logits_TC: float32, outputs.
        clip: What was announced of it.
        labels: The classes.
    """
    num_phases, actions = len(labels.phases), range(len(labels.actions))
    known_T = (example.phases_T != UNKNOWN) & bool(num_phases)
    held_TA, said_TA = example.actions_TA > 0, logits_TC[:, num_phases:] > 0
    return ClipTally(
        num_frames=len(example),
        frames_PP=confusion_matrix(
            logits_TC[known_T, :num_phases].argmax(axis=1) if num_phases else np.zeros(0, int),
            example.phases_T[known_T],
            num_classes=num_phases,
        ),
        frame_actions=tuple(frame_counts(said_TA[:, a], held_TA[:, a]) for a in actions),
        phases=tally_phases(example, clip),
        actions=tuple(tally_action(example, clip, action) for action in actions),
    )
