"""Measures a bundle on labelled videos: as it serves, and with its memory cut into windows."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError
from streamer.models.temporal.registry import open_online_model
from streamer.training.annotations import BACKGROUND, Kind, Labels
from streamer.training.evaluation.announced import read_events
from streamer.training.evaluation.foresight import measure_foresight
from streamer.training.evaluation.scores import Scorer
from streamer.training.evaluation.serving import Watcher
from streamer.training.evaluation.tally import Material
from streamer.training.metrics.bootstrap import NUM_RESAMPLES, bootstrap
from streamer.training.metrics.frames import confusion_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamer.models.bundle import Bundle
    from streamer.training.dataset import Example
    from streamer.training.evaluation.announced import Announced
    from streamer.training.evaluation.foresight import Foreseen
    from streamer.training.evaluation.serving import Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is to be decided about an evaluation.

    Attributes:
        background: Labels of phases that are no segments and no classes of an average; frames of
            theirs count in the accuracy. None: `BACKGROUND`, where the bundle has it.
        window_frames: Frames after which the other run takes its state back to zero.
        seed: Of the bootstrap.
        num_resamples: Of the bootstrap.
    """

    background: tuple[str, ...] | None = None
    window_frames: int = 64
    seed: int = 1
    num_resamples: int = NUM_RESAMPLES

    def background_of(self, labels: Labels) -> tuple[str, ...]:
        """The phases that are background.

        Raises:
            ConfigError: One of them is no phase of the bundle.
        """
        if self.background is None:
            return tuple(label for label in labels.phases if label == BACKGROUND)
        for label in self.background:
            if label not in labels.phases:
                raise ConfigError(
                    f"--background: expected one of {', '.join(labels.phases) or 'no phases'}, "
                    f"found {label!r}"
                )
        return self.background


@dataclass(frozen=True, slots=True, kw_only=True)
class KindResult:
    """Metrics of phases, or of actions. See `tables.MEANINGS` for their names.

    Attributes:
        scorer: Of the carried run.
        carried: With the state carried from the first frame to the last, as serving does.
        intervals: 95 % of these, by a bootstrap over videos.
        windowed: With (h, c) reset every so many frames.
        difference_intervals: 95 % of carried - windowed, both of the same resamples.
    """

    scorer: Scorer
    carried: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    windowed: Mapping[str, float]
    difference_intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleResult:
    """All that was found of one bundle.

    Attributes:
        bundle: Which.
        announced: What it said of each video, carried.
        confusion_CC: Phases, truth in rows, by the outputs of each frame.
        kinds: What was found, of the kinds of labels it has.
        foreseen: By an anomaly head beside the labels, if there is one.
    """

    bundle: Bundle
    announced: tuple[Announced, ...]
    confusion_CC: np.ndarray
    kinds: Mapping[Kind, KindResult]
    foreseen: Foreseen | None = None


def measure_bundle(bundle: Bundle, examples: Sequence[Example], policy: Policy) -> BundleResult:
    """Watch the videos twice, and compare what was said with what is true.

    Args:
        bundle: To measure.
        examples: Videos with features of the bundle's encoder and truth in its labels.
        policy: See there.

    Raises:
        ConfigError: There are no videos, or a label of the policy is unknown.
        ModelError: The bundle's model can't be opened.
    """
    if not examples:
        raise ConfigError("eval: expected at least one video, found none")
    labels = Labels(bundle.config.phases, bundle.config.actions)
    background = policy.background_of(labels)
    carried = _Run.of(bundle, labels, examples, window_frames=None)
    windowed = _Run.of(bundle, labels, examples, window_frames=policy.window_frames)
    kinds = {}
    for kind, names in ((Kind.PHASE, labels.phases), (Kind.ACTION, labels.actions)):
        if names:
            scorer, other = (
                Scorer(run.materials(kind, background=background), labels=names)
                for run in (carried, windowed)
            )
            kinds[kind] = _compare(scorer, other, policy)
    return BundleResult(
        bundle=bundle,
        announced=carried.announced,
        confusion_CC=carried.confusion(),
        kinds=kinds,
        foreseen=measure_foresight(bundle, examples),
    )


def _compare(carried: Scorer, windowed: Scorer, policy: Policy) -> KindResult:
    def both(weights_V: np.ndarray) -> dict[str, float]:
        ours, theirs = carried.scores(weights_V), windowed.scores(weights_V)
        # Two missed onsets are as late as each other; their difference says nothing.
        with np.errstate(invalid="ignore"):
            return {
                **{f"carried.{name}": value for name, value in ours.items()},
                **{
                    f"difference.{name}": float(np.subtract(value, theirs[name]))
                    for name, value in ours.items()
                },
            }

    found = bootstrap(
        both,
        num_videos=carried.num_videos,
        seed=policy.seed,
        num_resamples=policy.num_resamples,
    )

    def part(prefix: str) -> dict[str, tuple[float, float]]:
        return {
            name.removeprefix(prefix): interval
            for name, interval in found.items()
            if name.startswith(prefix)
        }

    ones_V = np.ones(carried.num_videos)
    return KindResult(
        scorer=carried,
        carried=carried.scores(ones_V),
        intervals=part("carried."),
        windowed=windowed.scores(ones_V),
        difference_intervals=part("difference."),
    )


@dataclass(frozen=True, slots=True)
class _Run:
    """A bundle's way through all videos."""

    labels: Labels
    period_seconds: float
    examples: tuple[Example, ...]
    watched: tuple[Watched, ...]
    announced: tuple[Announced, ...]

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        labels: Labels,
        examples: Sequence[Example],
        *,
        window_frames: int | None,
    ) -> _Run:
        with closing(open_online_model(bundle)) as model:
            watcher = Watcher(bundle, model, window_frames=window_frames)
            watched = tuple(
                watcher.watch(example.name, example.features_TD, example.pts_T)
                for example in examples
            )
        announced = tuple(
            read_events(
                one.events,
                one.closing,
                labels=labels,
                pts_T=example.pts_T,
                lookahead_frames=bundle.config.lookahead_frames,
            )
            for one, example in zip(watched, examples, strict=True)
        )
        return cls(labels, 1 / bundle.config.analysis_fps, tuple(examples), watched, announced)

    def confusion(self) -> np.ndarray:
        num_phases = len(self.labels.phases)
        sums_CC = np.zeros((num_phases, num_phases), np.int64)
        if num_phases:
            for example, watched in zip(self.examples, self.watched, strict=True):
                said_T = watched.probabilities_TC[:, :num_phases].argmax(axis=1)
                sums_CC += confusion_matrix(said_T, example.phases_T, num_classes=num_phases)
        return sums_CC

    def materials(self, kind: Kind, *, background: Sequence[str]) -> list[Material]:
        """Of each video, as far as this kind of labels goes."""
        triples = zip(self.examples, self.watched, self.announced, strict=True)
        return [self._material(kind, background, *triple) for triple in triples]

    def _material(
        self,
        kind: Kind,
        background: Sequence[str],
        example: Example,
        watched: Watched,
        announced: Announced,
    ) -> Material:
        num_phases, exclusive = len(self.labels.phases), kind is Kind.PHASE
        classes = slice(0, num_phases) if exclusive else slice(num_phases, None)
        phases_TC = example.phases_T[:, None] == np.arange(num_phases)
        names = self.labels.phases if exclusive else self.labels.actions
        logits_TC = watched.logits_TC[:, classes]
        num_frames = len(example)
        return Material(
            exclusive=exclusive,
            known_T=example.phases_T >= 0 if exclusive else np.ones(num_frames, bool),
            truth_TC=phases_TC if exclusive else example.actions_TA > 0,
            raw_TC=_softmax(logits_TC) if exclusive else 1 / (1 + np.exp(-logits_TC)),
            probabilities_TC=watched.probabilities_TC[:, classes],
            shown_TC=announced.shown_TC[:, classes],
            segments=announced.phases if exclusive else announced.actions,
            announcements=[
                note.of_class(note.label - classes.start)
                for note in announced.announcements
                if (note.label < num_phases) == exclusive
            ],
            pts_T=example.pts_T,
            seconds=float(example.pts_T[-1] - example.pts_T[0]) + self.period_seconds,
            counted=[label for label, name in enumerate(names) if name not in background],
        )


def _softmax(logits_TC: np.ndarray) -> np.ndarray:
    exponents_TC = np.exp(logits_TC - logits_TC.max(axis=1, keepdims=True))
    return np.asarray(exponents_TC / exponents_TC.sum(axis=1, keepdims=True))
