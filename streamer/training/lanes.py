"""Windows for truncated backpropagation: parallel lanes that walk through clips, state carried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.dataset import Example

SKIP_PROBABILITY = 0.02
"""How often frames are left out, as a busy host drops them."""
MAX_SKIP = 3
KEEP_PROBABILITY = 0.5
"""How often a lane keeps its state when it goes on with another clip: a camera that was moved.
It also teaches the model to work from a state as old as a stream may get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """T frames of B lanes.

    Attributes:
        features_TBD: float32.
        phases_TB: int64.
        actions_TBA: float32.
        begins_B: True where the lane's state is to be forgotten first.
        moved_B: True where the lane has gone to another clip.
    """

    features_TBD: np.ndarray
    phases_TB: np.ndarray
    actions_TBA: np.ndarray
    begins_B: np.ndarray
    moved_B: np.ndarray


class Lanes:
    """Endless windows. A lane walks through a clip from a random start, then takes another.

    Args:
        examples: The training part.
        num_lanes: B.
        num_steps: T. Clips shorter than that are repeated from their start.
        random: Where chance comes from.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        num_lanes: int,
        num_steps: int,
        random: np.random.Generator,
    ) -> None:
        self._examples = examples
        self._num_steps = num_steps
        self._random = random
        lengths = np.array([len(example) for example in examples], float)
        self._weights = lengths / lengths.sum()
        self._places = [(0, -1)] * num_lanes  # (which clip, next frame); -1: none yet

    def next_window(self) -> Window:
        """The frames that follow in each lane."""
        random, num_lanes = self._random, len(self._places)
        begins_B, moved_B = np.zeros(num_lanes, bool), np.zeros(num_lanes, bool)
        columns = []
        for lane, (clip, start) in enumerate(self._places):
            steps_T = self._steps()
            if start < 0 or start + steps_T[-1] >= len(self._examples[clip]):
                moved_B[lane] = True
                begins_B[lane] = start < 0 or random.random() > KEEP_PROBABILITY
                clip = int(random.choice(len(self._examples), p=self._weights))
                room = max(1, len(self._examples[clip]) - int(steps_T[-1]))
                start = int(random.integers(room))
            example = self._examples[clip]
            at_T = (start + steps_T) % len(example)
            columns.append(
                (example.features_TD[at_T], example.phases_T[at_T], example.actions_TA[at_T])
            )
            self._places[lane] = (clip, start + int(steps_T[-1]) + 1)
        features, phases, actions = zip(*columns, strict=True)
        return Window(
            features_TBD=np.stack(features, axis=1).astype(np.float32),
            phases_TB=np.stack(phases, axis=1),
            actions_TBA=np.stack(actions, axis=1),
            begins_B=begins_B,
            moved_B=moved_B,
        )

    def _steps(self) -> np.ndarray:
        """Offsets of the frames of one window: 0, 1, 2 and so on, with leaps."""
        skipped = self._random.random(self._num_steps) < SKIP_PROBABILITY
        extra = np.where(skipped, self._random.integers(1, MAX_SKIP + 1, self._num_steps), 0)
        extra[0] = 0
        return np.cumsum(1 + extra) - 1
