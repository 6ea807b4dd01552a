"""Windows to train on: of lanes that walk through clips, state carried, or from anywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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
        teacher_TBC: float32, logits of a teacher, if every clip has some.
    """

    features_TBD: np.ndarray
    phases_TB: np.ndarray
    actions_TBA: np.ndarray
    begins_B: np.ndarray
    moved_B: np.ndarray
    teacher_TBC: np.ndarray | None = None


class Windows(Protocol):
    """An endless source of windows."""

    def next_window(self) -> Window:
        """The next one."""
        ...

    @property
    def places(self) -> list[tuple[int, int]]:
        """Where each lane is, as (clip, next frame): with the random generator, all it knows."""
        ...

    @places.setter
    def places(self, places: list[tuple[int, int]]) -> None: ...


class Lanes:
    """Endless windows. A lane walks through a clip from a random start, then takes another.

    Args:
        examples: The training part.
        num_lanes: B.
        num_steps: T. Clips shorter than that are repeated from their start.
        random: Where chance comes from.
        time_warp: Windows are played faster or slower by up to this part.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        num_lanes: int,
        num_steps: int,
        random: np.random.Generator,
        time_warp: float = 0.0,
    ) -> None:
        self._examples = examples
        self._num_steps = num_steps
        self._random = random
        self._time_warp = time_warp
        self._weights = _by_length(examples)
        self.places = [(0, -1)] * num_lanes  # (which clip, next frame); -1: none yet

    def next_window(self) -> Window:
        """The frames that follow in each lane."""
        random, num_lanes = self._random, len(self.places)
        begins_B, moved_B = np.zeros(num_lanes, bool), np.zeros(num_lanes, bool)
        columns: list[_Column] = []
        for lane, (clip, start) in enumerate(self.places):
            steps_T = self._steps()
            if start < 0 or start + steps_T[-1] >= len(self._examples[clip]):
                moved_B[lane] = True
                begins_B[lane] = start < 0 or random.random() > KEEP_PROBABILITY
                clip = int(random.choice(len(self._examples), p=self._weights))
                room = max(1, len(self._examples[clip]) - int(steps_T[-1]))
                start = int(random.integers(room))
            example = self._examples[clip]
            at_T = (start + steps_T) % len(example)
            columns.append((example, at_T))
            self.places[lane] = (clip, start + int(steps_T[-1]) + 1)
        return _window(columns, begins_B=begins_B, moved_B=moved_B)

    def _steps(self) -> np.ndarray:
        """Offsets of the frames of one window: 0, 1, 2 and so on, with leaps."""
        skipped = self._random.random(self._num_steps) < SKIP_PROBABILITY
        extra = np.where(skipped, self._random.integers(1, MAX_SKIP + 1, self._num_steps), 0)
        extra[0] = 0
        steps_T = np.cumsum(1 + extra) - 1
        if self._time_warp:
            speed = 1 + self._random.uniform(-self._time_warp, self._time_warp)
            steps_T = np.floor(steps_T * speed).astype(int)
        return steps_T


class LastFrames:
    """Windows that end anywhere, each from a fresh state: for a loss of their last frame alone.

    A window that would begin before its clip begins with repeats of the first frame.

    Args:
        examples: The training part.
        num_lanes: B.
        num_steps: T.
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
        self._num_lanes = num_lanes
        self._num_steps = num_steps
        self._random = random
        self._weights = _by_length(examples)
        self.places: list[tuple[int, int]] = []

    def next_window(self) -> Window:
        """Windows of as many clips as there are lanes."""
        columns: list[_Column] = []
        for clip in self._random.choice(len(self._examples), self._num_lanes, p=self._weights):
            example = self._examples[clip]
            last = int(self._random.integers(len(example)))
            columns.append((example, np.arange(last - self._num_steps + 1, last + 1).clip(0)))
        everywhere_B = np.ones(self._num_lanes, bool)
        return _window(columns, begins_B=everywhere_B, moved_B=everywhere_B)


_Column = tuple["Example", np.ndarray]


def _window(columns: Sequence[_Column], *, begins_B: np.ndarray, moved_B: np.ndarray) -> Window:
    """The frames at the given places of each lane's clip."""
    taught = [e.teacher_TC[at_T] for e, at_T in columns if e.teacher_TC is not None]
    return Window(
        features_TBD=np.stack([e.features_TD[at] for e, at in columns], 1).astype(np.float32),
        phases_TB=np.stack([e.phases_T[at] for e, at in columns], 1),
        actions_TBA=np.stack([e.actions_TA[at] for e, at in columns], 1),
        begins_B=begins_B,
        moved_B=moved_B,
        teacher_TBC=np.stack(taught, 1) if len(taught) == len(columns) else None,
    )


def _by_length(examples: Sequence[Example]) -> np.ndarray:
    lengths: np.ndarray = np.array([len(example) for example in examples], float)
    return np.asarray(lengths / lengths.sum())
