"""How to train: all numbers that decide the weights, beside the data."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_type_hints

import msgspec

from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

AT_LEAST_ONE = ("num_lanes", "num_steps", "max_updates", "check_every", "patience", "num_threads")
ABOVE_ZERO = ("learning_rate", "clip_norm", "distillation_temperature")
NOT_NEGATIVE = (
    "warmup_updates",
    "weight_decay",
    "noise",
    "shift",
    "temporal_smoothing",
    "anomaly_weight",
    "seed",
)
UP_TO_ONE = ("label_smoothing", "distillation")
BELOW_ONE = ("dropout", "feature_dropout", "time_warp", "ema_decay")
"""Nothing would be left at 1."""
MAX_SEED = 2**63 - 1
_DEVICE = re.compile(r"cpu|cuda(:\d+)?")


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
        device: `cpu`, `cuda` or `cuda:1`.
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
        self._check(AT_LEAST_ONE, "at least 1", lambda value: value >= 1)
        self._check(ABOVE_ZERO, "a number above 0", lambda value: value > 0)
        self._check(NOT_NEGATIVE, "a number of 0 or more", lambda value: value >= 0)
        self._check(UP_TO_ONE, "0 to 1", lambda value: 0 <= value <= 1)
        self._check(BELOW_ONE, "0 or more, and below 1", lambda value: 0 <= value < 1)
        if self.seed > MAX_SEED:
            raise ConfigError(f"seed: expected at most {MAX_SEED}, found {self.seed}")
        if not _DEVICE.fullmatch(self.device):
            raise ConfigError(f"device: expected cpu, cuda or cuda:N, found {self.device!r}")
        if self.mixed_precision and not self.device.startswith("cuda"):
            raise ConfigError("mixed_precision: expected device=cuda with it; leave it out")

    def _check(self, names: Sequence[str], wanted: str, holds: Callable[[float], bool]) -> None:
        for name in names:
            value = getattr(self, name)
            if not (math.isfinite(value) and holds(value)):
                raise ConfigError(f"{name}: expected {wanted}, found {value}")

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
    types = get_type_hints(Recipe)
    if unknown := sorted(texts.keys() - types.keys()):
        raise ConfigError(
            f"recipe: expected one of {', '.join(sorted(types))}, found {unknown[0]!r}"
        )
    return Recipe(**{name: _parse(name, text, types[name]) for name, text in texts.items()})


def _parse(name: str, text: str, type: Any) -> Any:
    try:
        return msgspec.convert(text, type, strict=False)
    except msgspec.ValidationError:
        wanted = " or ".join(get_args(type)) or _WANTED[type]
        raise ConfigError(f"{name}: expected {wanted}, found {text!r}") from None


_WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
