"""Explains a bundle on labelled videos: importance of features, and looks at some of the videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from streamer.core.errors import ConfigError
from streamer.models.temporal.torch import load_network
from streamer.training.explanation.groups import check_number, correlated_groups, equal_blocks
from streamer.training.explanation.importance import measure_importance
from streamer.training.explanation.look import look_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from streamer.models.bundle import Bundle
    from streamer.models.config import ModelConfig
    from streamer.training.dataset import Example
    from streamer.training.explanation.groups import Group
    from streamer.training.explanation.importance import Importance, Permuting
    from streamer.training.explanation.look import Look

NUM_LOOKS = 4
"""Videos that are looked at, if none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be decided about an explanation.

    Attributes:
        num_groups: Of features.
        group_by: Neighbours in the feature vector, or clusters of correlated ones.
        permuting: How importance is measured.
        show: Names of the videos to look at; empty: `NUM_LOOKS`, evenly spread.
    """

    num_groups: int
    group_by: Literal["blocks", "correlation"]
    permuting: Permuting
    show: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What was found.

    Attributes:
        importance: None if the head says nothing of single frames that could be right or wrong.
        looks: At the chosen videos.
        left_out: What is not there, and why, a sentence each.
    """

    importance: Importance | None
    looks: tuple[Look, ...]
    left_out: tuple[str, ...]


def check_plan(config: ModelConfig, plan: Plan) -> None:
    """Raise ConfigError if a model can't be explained, or not like that."""
    if config.head == "caption" or not config.num_classes:
        found = "captions" if config.head == "caption" else "scores of anomalies alone"
        raise ConfigError(
            f"bundle {config.name}: expected a model of phases, actions or values to explain, "
            f"found one of {found}"
        )
    if config.head == "frames":
        check_number(config.feature_dim, plan.num_groups)


def explain(
    bundle: Bundle,
    examples: Sequence[Example],
    plan: Plan,
    *,
    values: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Explanation:
    """Explain a bundle by its float32 weights.

    Args:
        bundle: What is explained.
        examples: The videos.
        plan: How.
        values: Of a regression, the true ones, by the name of the video: (K,) or (T, K).
        progress: Is told what is done next.

    Raises:
        ConfigError: The model can't be explained, not like that, or not on these videos.
        ModelError: The weights do not fit.
    """
    config = bundle.config
    check_plan(config, plan)
    shown = _choose(examples, plan.show)
    network = load_network(bundle)
    left_out, importance = [], None
    if config.head == "frames":
        groups = _groups(examples, plan)
        importance = measure_importance(
            network,
            examples,
            groups,
            plan.permuting,
            progress=lambda group: progress(f"importance of features {group.name}"),
        )
    else:
        left_out.append(
            f"Importance: the head {config.head} is not judged by its frames; it needs the head "
            "frames."
        )
    if config.directions == 2:
        left_out.append("Gates: with two directions there is no one state at a time.")
    if config.precision != "float32":
        left_out.append(
            f"{config.precision}: all of this is about the float32 weights it was made of."
        )
    looks = []
    for example in shown:
        progress(f"looking at {example.name}")
        looks.append(look_at(bundle, network, example, truth=(values or {}).get(example.name)))
    return Explanation(importance=importance, looks=tuple(looks), left_out=tuple(left_out))


def _groups(examples: Sequence[Example], plan: Plan) -> tuple[Group, ...]:
    if plan.group_by == "blocks":
        return equal_blocks(examples[0].features_TD.shape[1], plan.num_groups)
    features_ND = np.concatenate([example.features_TD for example in examples])
    return correlated_groups(features_ND, plan.num_groups)


def _choose(examples: Sequence[Example], names: Sequence[str]) -> list[Example]:
    known = [example.name for example in examples]
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(
            f"--show: expected names of the videos ({', '.join(known)}), found {unknown[0]!r}"
        )
    if names:
        return [example for example in examples if example.name in names]
    spread = np.linspace(0, len(examples) - 1, min(NUM_LOOKS, len(examples)))
    return [examples[index] for index in spread.round().astype(int)]
