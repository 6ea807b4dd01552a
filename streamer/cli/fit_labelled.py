"""`streamer fit --videos` and `--synthetic`: from labelled video to a bundle."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.cli.progress import clip_progress, says_how_to_go_on
from streamer.core.errors import ConfigError
from streamer.models.bundle import Bundle

if TYPE_CHECKING:
    import numpy as np

    from streamer.models.encoders.encoder import Encoder
    from streamer.training.dataset import Dataset
    from streamer.training.features import TrackMaker
    from streamer.training.fit import Check
    from streamer.training.foresight import Foresight
    from streamer.training.phase_graph import PhaseGraph
    from streamer.training.recipe import Recipe
    from streamer.training.run import Shape

SYNTHETIC_MINUTES = 48.0
OBSERVED = "observed"
"""Stands for a phase graph of the transitions that the training part takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What to learn from: a table of videos, or else a rendered scene.

    Attributes:
        videos: The table of labels.
        split_seed: Decides which videos are in which part, where the table does not.
        scene: As in `synthetic:NAME`.
        seeds: Synthetic: how many scenes to train on.
        minutes: Synthetic: to train on, in all; None: `SYNTHETIC_MINUTES`.
    """

    videos: Path | None
    split_seed: int
    scene: str | None
    seeds: int
    minutes: float | None

    @property
    def name(self) -> str:
        """For the bundle, where the user gives none."""
        return str(self.scene) if self.videos is None else self.videos.stem


@dataclass(frozen=True, slots=True)
class FeatureOptions:
    """What to look at the pictures with.

    Attributes:
        encoder: Its name.
        analysis_fps: Frames per second.
        cache: Folder of features that are made here.
    """

    encoder: str
    analysis_fps: float
    cache: Path


def fit_labelled(
    out: Path,
    data: Data,
    features: FeatureOptions,
    *,
    name: str | None,
    shape: Shape,
    recipe: Recipe,
    teacher: str | None,
    phase_graph: str | None,
    repeats: int,
    foresight: Foresight | None,
) -> Bundle:
    """Make or read the features, train, and write a bundle.

    Args:
        out: Folder of the run.
        data: What to learn from.
        features: What to look at it with.
        name: Of the bundle; None: the data's.
        shape: Of the network.
        recipe: How to train.
        teacher: A bundle whose outputs count as targets too.
        phase_graph: A file of transitions that are allowed, or `OBSERVED`.
        repeats: How many seeds, from the recipe's on.
        foresight: What to learn beside the labels.

    Raises:
        ConfigError: The table, a video, the teacher or the graph is not usable.
    """
    from streamer.training.descent import check_device
    from streamer.training.export import check_place
    from streamer.training.phase_graph import read_phase_graph
    from streamer.training.repeats import Job, train_repeats
    from streamer.training.run import make_config
    from streamer.training.teacher import check_teacher_encoder

    check_place(out / "bundle")
    check_device(recipe.device)
    taught_by = None if teacher is None else Bundle.load(teacher)
    graph = None
    if phase_graph not in (None, OBSERVED):
        graph = read_phase_graph(Path(str(phase_graph)))
    encoder, maker, analysis_fps = open_features(features, videos=data.videos)
    try:
        if taught_by is not None:
            check_teacher_encoder(taught_by, encoder_id=encoder.encoder_id)
        dataset = load_dataset(data, maker=maker)
    finally:
        encoder.close()
    graph_PP = None if phase_graph is None else _transitions(dataset, graph)
    config = make_config(
        dataset, shape, name=name or data.name, encoder=encoder, analysis_fps=analysis_fps
    )
    job = Job(
        dataset=dataset,
        config=config,
        encoder=encoder,
        recipe=recipe,
        teacher=taught_by,
        graph_PP=graph_PP,
        foresight=foresight,
    )
    with says_how_to_go_on(out):
        if repeats == 1:
            return job.train(out, recipe, progress=_say_check)
        return train_repeats(out, job, num_repeats=repeats, progress=_say_check, begin=_say_seed)


def _transitions(dataset: Dataset, graph: PhaseGraph | None) -> np.ndarray:
    """Per phase which may follow, bool (P, P): as the graph says, or as seen in training."""
    from streamer.training.phase_graph import observed_transitions

    labels = dataset.labels
    if len(labels.phases) < 2:
        raise ConfigError(
            f"--phase-graph: expected phases that follow each other, found {len(labels.phases)} in "
            "the labels; leave it out"
        )
    if graph is not None:
        return graph.matrix(labels.phases, (*dataset.train, *dataset.validation))
    return observed_transitions(dataset.train, num_phases=len(labels.phases))


def open_features(
    options: FeatureOptions, *, videos: Path | None
) -> tuple[Encoder, TrackMaker, float]:
    """The encoder, what gives the features of clips, and how many per second there can be.

    Raises:
        ConfigError: The table can't be read, or the features were made elsewhere and an encoder is
            named.
    """
    from streamer.models.encoders.registry import DEFAULT_NAME, open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.external import ExternalEncoder, ExternalTracks, find_feature_set
    from streamer.training.features import FeatureMaker

    made_elsewhere = None if videos is None else find_feature_set(videos)
    if made_elsewhere is None:
        encoder = open_encoder(options.encoder)
        maker = FeatureMaker(
            encoder, analysis_fps=options.analysis_fps, cache=options.cache, clock=SystemClock()
        )
        return encoder, maker, options.analysis_fps
    if options.encoder != DEFAULT_NAME:
        raise ConfigError(
            f"fit: {videos} names features made elsewhere, so no encoder is needed; "
            f"leave out --encoder {options.encoder}"
        )
    analysis_fps = min(options.analysis_fps, made_elsewhere.fps)
    tracks = ExternalTracks(made_elsewhere, analysis_fps=analysis_fps)
    return ExternalEncoder(made_elsewhere), tracks, analysis_fps


def load_dataset(data: Data, *, maker: TrackMaker) -> Dataset:
    """Features and targets, in parts, with a line of progress.

    Raises:
        ConfigError: The table or a video is not usable.
    """
    from streamer.runtime.clock import SystemClock
    from streamer.training.synthetic_dataset import synthetic_dataset
    from streamer.training.video_dataset import video_dataset

    clock = SystemClock()
    with clip_progress() as progress:
        if data.videos is not None:
            return video_dataset(
                data.videos,
                seed=data.split_seed,
                maker=maker,
                clock=clock,
                progress=progress,
                warn=lambda finding: print(f"warning: {finding}", file=sys.stderr),
            )
        return synthetic_dataset(
            str(data.scene),
            num_seeds=data.seeds,
            minutes=data.minutes or SYNTHETIC_MINUTES,
            maker=maker,
            clock=clock,
            progress=progress,
        )


def _say_seed(seed: int, finished: bool) -> None:
    print(f"seed {seed}{': finished before' if finished else ''}", file=sys.stderr)


def _say_check(check: Check) -> None:
    print(
        f"update {check.update}: training loss {check.train_loss:.3f}, validation loss "
        f"{check.validation_loss:.3f}, phase accuracy {check.phase_accuracy:.3f}",
        file=sys.stderr,
    )
