"""Permutation importance: how much worse a model is without what a group of features says.

Breiman, "Random Forests" (2001), section 10; for any model, Fisher, Rudin and Dominici, "All
Models are Wrong, but Many are Useful" (JMLR 2019). The model is not trained again: what it says is
what *this* model uses, not what could be learnt from the features. Groups that say the same cover
for each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.training.explanation.groups import Group
from streamer.training.explanation.shuffling import draw_sources, shuffled
from streamer.training.fit import predict
from streamer.training.losses import UNKNOWN
from streamer.training.metrics.ranking import Ranking

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.dataset import Example
    from streamer.training.explanation.shuffling import Shuffle


@dataclass(frozen=True, slots=True, kw_only=True)
class Permuting:
    """How importance is measured.

    Attributes:
        shuffle: See `Shuffle`.
        block_frames: Length of a block, for `blocks`.
        num_repeats: How often each group is shuffled.
        seed: Of chance. All groups are shuffled in the same ways, so that they compare.
    """

    shuffle: Shuffle
    block_frames: int
    num_repeats: int
    seed: int


@dataclass(frozen=True, slots=True)
class GroupImportance:
    """What a group is worth.

    Attributes:
        group: Which.
        drops: By score, how much lower it was in each repeat, float64 (R,).
    """

    group: Group
    drops: Mapping[str, np.ndarray]

    def mean(self, score: str) -> float:
        """Over repeats."""
        return float(self.drops[score].mean())

    def deviation(self, score: str) -> float:
        """Standard deviation over repeats; NaN of one alone."""
        drops_R = self.drops[score]
        return float(drops_R.std(ddof=1)) if len(drops_R) > 1 else float("nan")


@dataclass(frozen=True, slots=True)
class Importance:
    """What all groups are worth.

    Attributes:
        scores: With all features as they are, by score; at least one.
        together: Of all features at once. Much more than the groups' sum: they say the same.
        groups: In the order they were given.
    """

    scores: Mapping[str, float]
    together: GroupImportance
    groups: tuple[GroupImportance, ...]


def measure_importance(
    network: RecurrentNetwork,
    examples: Sequence[Example],
    groups: Sequence[Group],
    permuting: Permuting,
    *,
    progress: Callable[[Group], None] = lambda group: None,
) -> Importance:
    """Measure what each group is worth.

    Args:
        network: With outputs per frame.
        examples: The videos.
        groups: Of features.
        permuting: How.
        progress: Is told of each group before its turn.

    Raises:
        ConfigError: There are too few videos or blocks to shuffle, or the truth says nothing that
            could be right or wrong.
    """
    random = np.random.default_rng(permuting.seed)
    ways = [
        draw_sources(
            examples, permuting.shuffle, block_frames=permuting.block_frames, random=random
        )
        for _ in range(permuting.num_repeats)
    ]
    num_phases = len(network.config.phases)
    scores = frame_scores(predict(network, examples), examples, num_phases=num_phases)
    if not scores:
        raise ConfigError(
            "importance: expected frames of a known phase or with an action, found none; "
            "label the videos"
        )
    everything = Group("all together", tuple(range(network.config.feature_dim)))
    found = []
    for group in (everything, *groups):
        progress(group)
        repeats = []
        for way in ways:
            others = [
                replace(example, features_TD=features_TD)
                for example, features_TD in zip(
                    examples, shuffled(examples, group.columns, way), strict=True
                )
            ]
            repeats.append(frame_scores(predict(network, others), examples, num_phases=num_phases))
        drops = {
            name: np.array([score - repeat[name] for repeat in repeats])
            for name, score in scores.items()
        }
        found.append(GroupImportance(group, drops))
    return Importance(scores, found[0], tuple(found[1:]))


def frame_scores(
    logits: Sequence[np.ndarray], examples: Sequence[Example], *, num_phases: int
) -> dict[str, float]:
    """How good outputs are, without a decoder.

    Args:
        logits: Of each video, (T, C): phases, then actions.
        examples: The videos.
        num_phases: How many of the classes are phases.

    Returns:
        `accuracy`, the part of all frames of a known phase that are right; and `action_map`, the
        mean over actions that occur of the average precision per frame. Those that the truth says
        something of.
    """
    logits_NC = np.concatenate(logits)
    phases_N = np.concatenate([example.phases_T for example in examples])
    actions_NA = np.concatenate([example.actions_TA for example in examples]) > 0
    scores, known_N = {}, phases_N != UNKNOWN
    if num_phases and known_N.any():
        right = logits_NC[known_N, :num_phases].argmax(axis=1) == phases_N[known_N]
        scores["accuracy"] = float(right.mean())
    together_N = np.zeros(len(logits_NC), np.int64)
    precisions = [
        Ranking(logits_NC[:, num_phases + action], actions_NA[:, action], together_N)
        .curve(np.ones(1))
        .average_precision
        for action in np.flatnonzero(actions_NA.any(axis=0))
    ]
    if precisions:
        scores["action_map"] = float(np.mean(precisions))
    return scores
