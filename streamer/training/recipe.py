"""How to train: all numbers that decide the weights, beside the data."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import msgspec

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PARTS_OF_ONE = (
    "dropout",
    "feature_dropout",
    "time_warp",
    "label_smoothing",
    "distillation",
    "ema_decay",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train.

    Attributes:
        method: `tbptt`: truncated backpropagation through time, the state carried along parallel
            lanes, a loss for every frame (Williams and Peng, 1990). `window`: windows from
            anywhere, each from a fresh state, a loss for the last frame alone (MiniROAD: An et
            al., ICCV 2023).
        num_lanes: Clips side by side.
        num_steps: Frames that gradients flow through.
        max_updates: Most updates of the weights.
        warmup_updates: The learning rate rises so long, then falls along a cosine.
        learning_rate: At its highest.
        weight_decay: Of AdamW.
        clip_norm: Longest gradient.
        dropout: See `RecurrentNetwork`.
        noise: Spread of what is added to each normalised feature, anew in every frame.
        shift: Spread of what is added to each normalised feature of a clip as a whole, so that
            the model does not learn a scene by heart: on the work cell it matters most (0.3 gave
            91 % right on unseen scenes, 1.5 gave 93 %, 2.5 gave 92 %).
        feature_dropout: Probability with which a feature of a clip is missing altogether.
        time_warp: A clip is played faster or slower by up to this part.
        label_smoothing: See `frame_loss`.
        class_weights: Whether rare classes count more: `none`, `sqrt` or `inverse`.
        temporal_smoothing: Weight of `smoothing_loss`; MS-TCN has 0.15.
        distillation: How much a teacher's outputs count against the labels, if there is one.
        distillation_temperature: Softens its outputs.
        anomaly_weight: What the score of an anomaly head counts beside the labels' loss.
        ema_decay: The weights that are kept are a moving average of those of all updates, with
            this decay per update; 0: the last ones.
        mixed_precision: bfloat16 where it is safe; on a GPU only.
        device: `cpu` or `cuda`.
        check_every: Updates between two looks at the validation part.
        patience: Looks without improvement after which training stops.
        seed: Of all chance.
        num_threads: Of torch. Another number gives other roundings.
    """

    method: Literal["tbptt", "window"] = "tbptt"
    num_lanes: int = 32
    num_steps: int = 64
    max_updates: int = 2000
    warmup_updates: int = 100
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    clip_norm: float = 1.0
    dropout: float = 0.4
    noise: float = 0.5
    shift: float = 1.5
    feature_dropout: float = 0.0
    time_warp: float = 0.0
    label_smoothing: float = 0.0
    class_weights: Literal["none", "sqrt", "inverse"] = "none"
    temporal_smoothing: float = 0.0
    distillation: float = 0.5
    distillation_temperature: float = 2.0
    anomaly_weight: float = 1.0
    ema_decay: float = 0.0
    mixed_precision: bool = False
    device: str = "cpu"
    check_every: int = 100
    patience: int = 8
    seed: int = 1
    num_threads: int = 1

    def __post_init__(self) -> None:
        for name in ("num_lanes", "num_steps", "max_updates", "check_every", "patience"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: expected at least 1, found {getattr(self, name)}")
        for name in PARTS_OF_ONE:
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        if self.mixed_precision and not self.device.startswith("cuda"):
            raise ConfigError("mixed_precision: expected device=cuda with it; leave it out")

    def rate(self, update: int) -> float:
        """Part of the highest learning rate: up along a line, then down along a cosine."""
        if update < self.warmup_updates:
            return (update + 1) / self.warmup_updates
        part = (update - self.warmup_updates) / max(1, self.max_updates - self.warmup_updates)
        return 0.5 * (1 + math.cos(math.pi * part))


def make_recipe(values: Mapping[str, str], assignments: Sequence[str] = ()) -> Recipe:
    """A recipe from text.

    Args:
        values: By name.
        assignments: `NAME=VALUE` each; they win.

    Raises:
        ConfigError: A name or a value is none of a recipe's.
    """
    texts = dict(values)
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"recipe: expected NAME=VALUE, found {assignment!r}")
        texts[name.strip()] = value.strip()
    known = {one.name for one in fields(Recipe)}
    if unknown := sorted(texts.keys() - known):
        raise ConfigError(
            f"recipe: expected one of {', '.join(sorted(known))}, found {unknown[0]!r}"
        )
    try:
        return msgspec.convert(texts, Recipe, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"recipe: {error}") from None
