"""Fits `decoder.json`: temperatures, smoothing, thresholds, durations, and the filter over phases.

All of it on the validation part, but for how phases follow each other: that is counted in training.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.models.bundle import DecoderConfig
from streamer.training.chain import fit_chain
from streamer.training.decoding import ClipDecoder
from streamer.training.evaluate import action_counts, phase_metrics
from streamer.training.filter_search import search_filter
from streamer.training.losses import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streamer.models.bundle import PhaseFilterConfig
    from streamer.training.annotations import Labels
    from streamer.training.dataset import Example
    from streamer.training.decoding import Decoded
    from streamer.training.delay import DelayPoint

SMOOTHING_SECONDS = (0.0, 0.1, 0.2, 0.3)
THRESHOLDS = ((0.5, 0.35), (0.6, 0.35), (0.6, 0.5), (0.7, 0.5))
"""(enter, exit)."""
DURATIONS_SECONDS = ((0.3, 0.3), (0.2, 0.2), (0.3, 0.5), (0.5, 0.3))
"""(minimum on, minimum off). The first is what smoothing is chosen with."""
ANNOUNCEMENTS = (0.4, 0.5, 0.6, 0.7)
"""Filtered probabilities at which a phase may be announced."""
MAX_LAG_FRAMES = 10
ONSET_WEIGHT = 0.5
"""What a second of onset error costs, in units of F1."""
RETRACTION_WEIGHT = 0.1
"""What it costs if every announcement is taken back, in units of F1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A fitted decoder.

    Attributes:
        decoder: The decoder.
        curve: What the filter's phases are like when confirmed at each lag, on the clips it was
            fitted on; empty without phases.
    """

    decoder: DecoderConfig
    curve: list[DelayPoint]


@dataclass(frozen=True, slots=True)
class _Choice:
    smoothing_seconds: float
    enter: float
    exit: float
    min_on_seconds: float
    min_off_seconds: float


def tune(
    examples: Sequence[Example],
    logits: Sequence[np.ndarray],
    *,
    train: Sequence[Example],
    labels: Labels,
    analysis_fps: float,
    graph_PP: np.ndarray | None = None,
    max_lag_frames: int = MAX_LAG_FRAMES,
    lookahead_frames: int = 0,
) -> Tuning:
    """The decoder that is best on these clips.

    Smoothing is one for all, chosen by the phases (by the actions where there are no phases).
    The rest is one choice for the phases, and one for each action. Phases go by the filter if that
    is better than their thresholds, and always where there is a graph: thresholds know none.

    Args:
        examples: The validation part.
        logits: float32 (T, C) of each.
        train: Clips whose phases tell how they last and follow each other.
        labels: The classes.
        analysis_fps: Frames per second.
        graph_PP: bool, per phase which may follow; None: any.
        max_lag_frames: The longest lag at which phases may be confirmed.
        lookahead_frames: How many frames later than a frame its outputs are known: delays include
            it.
    """
    temperatures = fit_temperatures(examples, logits, num_phases=len(labels.phases))
    trial = _Trial(examples, logits, labels, analysis_fps, temperatures)
    for smoothing, (enter, leave) in product(SMOOTHING_SECONDS, THRESHOLDS):
        trial.take(_Choice(smoothing, enter, leave, *DURATIONS_SECONDS[0]))
    smoothing = trial.leader().smoothing_seconds
    for (enter, leave), durations in product(THRESHOLDS, DURATIONS_SECONDS[1:]):
        trial.take(_Choice(smoothing, enter, leave, *durations))
    thresholds = _config(temperatures, trial.best(smoothing), labels)
    if len(labels.phases) < 2 or not any((clip.phases_T >= 0).any() for clip in train):
        return Tuning(decoder=thresholds, curve=[])
    filter, curve = search_filter(
        fit_chain(train, num_phases=len(labels.phases), graph_PP=graph_PP),
        thresholds,
        examples,
        logits,
        analysis_fps=analysis_fps,
        max_lag_frames=max_lag_frames,
        lookahead_frames=lookahead_frames,
    )
    rivals = [_filtered(thresholds, filter, enter, labels) for enter in ANNOUNCEMENTS]
    if graph_PP is None:
        rivals.insert(0, thresholds)
    best = max(rivals, key=lambda config: trial.score(config)[0])
    return Tuning(decoder=best, curve=curve)


class _Trial:
    """Tries choices, each for the phases and all actions at once."""

    def __init__(
        self,
        examples: Sequence[Example],
        logits: Sequence[np.ndarray],
        labels: Labels,
        analysis_fps: float,
        temperatures: tuple[float, float],
    ) -> None:
        self._clips = list(zip(examples, logits, strict=True))
        self._labels = labels
        self._analysis_fps = analysis_fps
        self._temperatures = temperatures
        self._scores: dict[_Choice, list[float]] = {}

    def take(self, choice: _Choice) -> None:
        """Try one."""
        labels = self._labels
        config = _config(self._temperatures, [choice] * (1 + len(labels.actions)), labels)
        self._scores[choice] = self.score(config)

    def score(self, config: DecoderConfig) -> list[float]:
        """Of the phases, then of each action."""
        decoder = ClipDecoder(config, labels=self._labels, analysis_fps=self._analysis_fps)
        decoded = [decoder.decode(outputs, example.pts_T) for example, outputs in self._clips]
        return _scores([example for example, _ in self._clips], decoded, self._labels)

    def leader(self) -> _Choice:
        """The best for the phases; among equals, for the actions; then the one tried first."""
        return max(self._scores, key=lambda c: (self._scores[c][0], sum(self._scores[c][1:])))

    def best(self, smoothing_seconds: float) -> list[_Choice]:
        """The best with that smoothing: for the phases, then for each action."""
        rivals = [c for c in self._scores if c.smoothing_seconds == smoothing_seconds]
        actions = range(1, 1 + len(self._labels.actions))
        return [self.leader(), *(max(rivals, key=lambda c: self._scores[c][k]) for k in actions)]


def fit_temperatures(
    examples: Sequence[Example], logits: Sequence[np.ndarray], *, num_phases: int
) -> tuple[float, float]:
    """Temperatures of phases and actions by least negative log-likelihood.

    Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017).
    """
    logits_NC = np.concatenate(list(logits)).astype(np.float64)
    truth_N = np.concatenate([example.phases_T for example in examples])
    held_NA = np.concatenate([example.actions_TA for example in examples])
    known_N = truth_N != UNKNOWN

    def phase_loss(temperature: float) -> float:
        scaled = logits_NC[known_N, :num_phases] / temperature
        right = np.take_along_axis(scaled, truth_N[known_N, None], axis=1)[:, 0]
        return float((np.logaddexp.reduce(scaled, axis=1) - right).mean())

    def action_loss(temperature: float) -> float:
        scaled = logits_NC[:, num_phases:] / temperature
        return float((np.logaddexp(0, scaled) - held_NA * scaled).mean())

    phases = _minimum(phase_loss) if num_phases and known_N.any() else 1.0
    return phases, _minimum(action_loss) if held_NA.shape[1] else 1.0


def _minimum(loss: Callable[[float], float]) -> float:
    """The temperature between 1/4 and 8 with the least loss: these losses have one minimum."""
    low, high = np.log(0.25), np.log(8.0)
    for _ in range(60):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if loss(float(np.exp(left))) < loss(float(np.exp(right))):
            high = right
        else:
            low = left
    return round(float(np.exp((low + high) / 2)), 4)


def _scores(examples: Sequence[Example], decoded: Sequence[Decoded], labels: Labels) -> list[float]:
    """Of the phases (0 where there are none), then of each action. More is better."""
    phases = 0.0
    if labels.phases:
        found = phase_metrics(examples, decoded)
        f1 = np.mean([found["f1_at_10"], found["f1_at_25"], found["f1_at_50"]])
        error = found["onset_error_median_seconds"] or 0.0
        phases = float(f1) - ONSET_WEIGHT * error - RETRACTION_WEIGHT * found["retracted_ratio"]
    return [
        phases,
        *(action_counts(examples, decoded, action).f1 for action in range(len(labels.actions))),
    ]


def _config(
    temperatures: tuple[float, float], choices: Sequence[_Choice], labels: Labels
) -> DecoderConfig:
    """Args: `choices` of the phases, then of each action."""
    per_class = [choices[0]] * len(labels.phases) + list(choices[1:])
    config = DecoderConfig(
        phase_temperature=temperatures[0],
        action_temperature=temperatures[1],
        smoothing_seconds=choices[0].smoothing_seconds,
        enter_C=tuple(choice.enter for choice in per_class),
        exit_C=tuple(choice.exit for choice in per_class),
        min_on_seconds_C=tuple(choice.min_on_seconds for choice in per_class),
        min_off_seconds_C=tuple(choice.min_off_seconds for choice in per_class),
    )
    return msgspec.convert(msgspec.to_builtins(config), DecoderConfig)


def _filtered(
    thresholds: DecoderConfig, filter: PhaseFilterConfig, enter: float, labels: Labels
) -> DecoderConfig:
    """The decoder whose phases go by the filter, announced at a probability of `enter`."""
    num_phases = len(labels.phases)
    config = msgspec.structs.replace(
        thresholds,
        enter_C=(enter,) * num_phases + thresholds.enter_C[num_phases:],
        exit_C=tuple(min(enter, leave) for leave in thresholds.exit_C[:num_phases])
        + thresholds.exit_C[num_phases:],
        phase_filter=filter,
    )
    return msgspec.convert(msgspec.to_builtins(config), DecoderConfig)
