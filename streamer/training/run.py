"""The whole path: dataset → trained model → fitted decoder → metrics → bundle and pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import torch

from streamer.core.errors import ConfigError
from streamer.models.bundle import GapConfig, ModelConfig
from streamer.models.temporal.network import RecurrentNetwork
from streamer.stages.drift import predicted_counts
from streamer.training.board import Board
from streamer.training.evaluate import confirmed_confusion, decode_clips, evaluate
from streamer.training.evaluation.pictures import plot_confusion
from streamer.training.export import check_place, write_bundle
from streamer.training.fit import fit, predict
from streamer.training.foresight import add_foresight, check_foresight
from streamer.training.plots import plot_delay_f1, plot_learning_curve, plot_ribbons
from streamer.training.teacher import taught
from streamer.training.tuning import tune

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from streamer.models.bundle import Bundle, DecoderConfig
    from streamer.models.config import Architecture, Head, Pooling
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.dataset import Dataset, Example
    from streamer.training.fit import Check
    from streamer.training.foresight import Foresight
    from streamer.training.recipe import Recipe

HOLD_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Kind and size of the network. See `ModelConfig`."""

    architecture: Architecture = "lstm"
    projection_dim: int = 64
    hidden_dim: int = 96
    num_layers: int = 1
    layer_norm: bool = False
    directions: Literal[1, 2] = 1
    lookahead_frames: int = 0

    def config(
        self,
        *,
        name: str,
        encoder: Encoder,
        analysis_fps: float,
        phases: tuple[str, ...] = (),
        actions: tuple[str, ...] = (),
        targets: tuple[str, ...] = (),
        head: Head = "frames",
        pooling: Pooling = "none",
    ) -> ModelConfig:
        """The configuration of a model of this shape."""
        return ModelConfig(
            name=name,
            architecture=self.architecture,
            feature_dim=encoder.feature_dim,
            projection_dim=self.projection_dim,
            hidden_dim=self.hidden_dim,
            num_layers=self.num_layers,
            layer_norm=self.layer_norm,
            directions=self.directions,
            lookahead_frames=self.lookahead_frames,
            phases=phases,
            actions=actions,
            targets=targets,
            head=head,
            pooling=pooling,
            analysis_fps=analysis_fps,
            encoder=encoder.name,
            encoder_id=encoder.encoder_id,
            gap=GapConfig(hold_seconds=HOLD_SECONDS),
        )


def make_config(
    dataset: Dataset, shape: Shape, *, name: str, encoder: Encoder, analysis_fps: float
) -> ModelConfig:
    """The configuration of a model for a dataset."""
    return shape.config(
        name=name,
        encoder=encoder,
        analysis_fps=analysis_fps,
        phases=dataset.labels.phases,
        actions=dataset.labels.actions,
    )


def train_bundle(
    out: Path,
    dataset: Dataset,
    *,
    config: ModelConfig,
    encoder: Encoder,
    recipe: Recipe,
    progress: Callable[[Check], None],
    teacher: Bundle | None = None,
    graph_PP: np.ndarray | None = None,
    foresight: Foresight | None = None,
) -> Bundle:
    """Train, fit the decoder, measure, and write `bundle/` and the pictures.

    A run that was interrupted goes on where it was, if it is started again in the same folder.

    Args:
        out: Folder of the run. Gets `bundle/`, `learning_curve.png`, `ribbons.png`, with phases
            `confusion.png` and `delay_f1.png`, and event files for TensorBoard in `tensorboard/`.
        dataset: To train, validate and test on.
        config: What to train.
        encoder: That made the features.
        recipe: How to train.
        progress: Is told each look at the validation part.
        teacher: Its outputs count as targets too, as much as the recipe says.
        graph_PP: bool, per phase which may follow; None: any.
        foresight: What to learn beside the labels, once these are learnt.

    Raises:
        ConfigError: `bundle/` holds something else, the folder another unfinished training, the
            teacher does not fit, or the recipe has no frames to look ahead at.
    """
    check_place(out / "bundle")
    _check_directions(config, recipe)
    if foresight is not None:
        check_foresight(dataset, foresight)
    if teacher is not None:
        dataset = taught(dataset, teacher, encoder_id=encoder.encoder_id)
    torch.manual_seed(recipe.seed)
    model = RecurrentNetwork(config, dropout=recipe.dropout)
    with Board(out / "tensorboard") as board:

        def show(check: Check) -> None:
            board.show(check)
            progress(check)

        history = fit(model, dataset, recipe, progress=show, folder=out)
    validation = predict(model, dataset.validation)
    tuning = tune(
        dataset.validation,
        validation,
        train=dataset.train,
        labels=dataset.labels,
        analysis_fps=config.analysis_fps,
        lookahead_frames=config.lookahead_frames,
        graph_PP=graph_PP,
    )
    decoder, beside = tuning.decoder, {}
    if foresight is not None:
        model, thresholds, beside["anomaly"] = add_foresight(model, dataset, recipe, foresight)
        config = model.config
        decoder = msgspec.structs.replace(decoder, anomaly=thresholds)
    logits = predict(model, dataset.test)
    bundle = write_bundle(
        out / "bundle",
        model=model,
        config=config,
        preprocess=encoder.preprocess,
        decoder=decoder,
        metrics={
            **_measure(dataset, logits, config=config, decoder=decoder),
            "seed": recipe.seed,
            "validation": {
                "loss": round(history.checks[history.best].validation_loss, 6),
                "predicted_shares": _shares(validation, config),
            },
            **beside,
        },
    )
    plot_learning_curve(out / "learning_curve.png", history, phases=bool(dataset.labels.phases))
    if tuning.curve:
        plot_delay_f1(out / "delay_f1.png", tuning.curve)
    _plot_test_part(out, dataset, logits, config=config, decoder=decoder)
    return bundle


def _plot_test_part(
    out: Path,
    dataset: Dataset,
    logits: Sequence[np.ndarray],
    *,
    config: ModelConfig,
    decoder: DecoderConfig,
) -> None:
    """What was announced beside what is true, as `confusion.png` and `ribbons.png`."""
    decoded = decode_clips(
        dataset.test,
        logits,
        labels=dataset.labels,
        decoder=decoder,
        analysis_fps=config.analysis_fps,
        lookahead_frames=config.lookahead_frames,
    )
    if phases := dataset.labels.phases:
        confusion_PP1 = confirmed_confusion(dataset.test, decoded, num_phases=len(phases))
        plot_confusion(out / "confusion.png", confusion_PP1, phases, said="confirmed phase")
    plot_ribbons(out / "ribbons.png", dataset.test, decoded, dataset.labels)


def _check_directions(config: ModelConfig, recipe: Recipe) -> None:
    """A backward direction learns from frames that follow those of the loss."""
    if config.directions == 2 and recipe.method == "window":
        raise ConfigError(
            "method: expected tbptt with two directions, found window: its loss is that of the "
            "last frame of a window, and none is ahead of that; leave out --set method=window"
        )
    if config.lookahead_frames >= recipe.num_steps:
        raise ConfigError(
            f"lookahead: expected fewer frames than the {recipe.num_steps} that a window of "
            f"training has, found {config.lookahead_frames}; look less far ahead, or raise "
            "num_steps with --set num_steps=N"
        )


def _shares(logits: Sequence[np.ndarray], config: ModelConfig) -> dict[str, float]:
    """In which part of the frames each label is predicted: what serving compares itself with."""
    logits_NC = np.concatenate(list(logits))
    counts_C = predicted_counts(
        logits_NC, num_phases=len(config.phases), num_actions=len(config.actions)
    )
    shares = (counts_C / len(logits_NC)).round(6).tolist()
    return dict(zip((*config.phases, *config.actions), shares, strict=True))


def _measure(
    dataset: Dataset,
    logits: Sequence[np.ndarray],
    *,
    config: ModelConfig,
    decoder: DecoderConfig,
) -> dict[str, Any]:
    """Metrics of the test part: all of it, and what was compressed and what was not apart."""

    def part(wanted: Callable[[Example], bool]) -> dict[str, Any]:
        chosen = [
            (example, outputs)
            for example, outputs in zip(dataset.test, logits, strict=True)
            if wanted(example)
        ]
        return evaluate(
            [example for example, _ in chosen],
            [outputs for _, outputs in chosen],
            labels=dataset.labels,
            decoder=decoder,
            analysis_fps=config.analysis_fps,
            lookahead_frames=config.lookahead_frames,
        )

    metrics = {"origin": dataset.origin, "test": part(lambda example: True)}
    if len({example.compressed for example in dataset.test}) == 2:
        metrics["test_rendered"] = part(lambda example: not example.compressed)
        metrics["test_compressed"] = part(lambda example: example.compressed)
    return metrics
