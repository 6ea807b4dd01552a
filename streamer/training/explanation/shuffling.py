"""Takes the meaning of features away, and leaves how they run over time.

Shuffled frame by frame, a feature would flicker as none does in a video, and a recurrent model
would be judged by what it makes of flicker. So whole courses are moved: from another video, or by
blocks within the video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.training.dataset import Example

Shuffle = Literal["videos", "blocks"]
"""Where a group's course is taken from: another video, or another block of the same one."""
Sources = list[tuple[int, np.ndarray]]
"""For each video, from which one its frames are taken, and which frames of it: int64 (T,)."""


def draw_sources(
    examples: Sequence[Example], shuffle: Shuffle, *, block_frames: int, random: np.random.Generator
) -> Sources:
    """Draw where each frame's features are to come from.

    - `videos`: each video gets those of another, from a random frame on, and from the start again
      after the end, since lengths differ and videos may begin alike.
    - `blocks`: each video's blocks change places; none stays where it was.

    Args:
        examples: The videos.
        shuffle: Which of the two.
        block_frames: Length of a block; the last one may be shorter.
        random: Of chance.

    Raises:
        ConfigError: One video alone, or a video of one block alone.
    """
    if shuffle == "videos":
        if len(examples) < 2:
            raise ConfigError(
                "shuffle: expected at least 2 videos to exchange features between, found 1; "
                "choose --shuffle blocks"
            )
        donors = _cycle(len(examples), random)
        return [
            (donor, _from_another(len(example), len(examples[donor]), random))
            for example, donor in zip(examples, donors, strict=True)
        ]
    return [
        (index, _by_blocks(example, block_frames, random)) for index, example in enumerate(examples)
    ]


def shuffled(
    examples: Sequence[Example], columns: Sequence[int], sources: Sources
) -> list[np.ndarray]:
    """Features (T, D) of each video, some columns taken from elsewhere."""
    taken = []
    for example, (donor, frames_T) in zip(examples, sources, strict=True):
        features_TD = example.features_TD.copy()
        features_TD[:, columns] = examples[donor].features_TD[:, columns][frames_T]
        taken.append(features_TD)
    return taken


def _from_another(
    num_frames: int, num_donor_frames: int, random: np.random.Generator
) -> np.ndarray:
    first = int(random.integers(num_donor_frames))
    return (first + np.arange(num_frames)) % num_donor_frames


def _by_blocks(example: Example, block_frames: int, random: np.random.Generator) -> np.ndarray:
    starts = np.arange(0, len(example), block_frames)
    if len(starts) < 2:
        raise ConfigError(
            f"{example.name}: expected at least 2 blocks of {block_frames} frames to shuffle, "
            f"found {len(example)} frames; make --block-seconds smaller"
        )
    blocks = np.split(np.arange(len(example)), starts[1:])
    return np.concatenate([blocks[index] for index in _cycle(len(blocks), random)])


def _cycle(count: int, random: np.random.Generator) -> list[int]:
    """A permutation that is one cycle, so that nothing stays: Sattolo (1986)."""
    order = list(range(count))
    for last in range(count - 1, 0, -1):
        other = int(random.integers(last))
        order[last], order[other] = order[other], order[last]
    return order
