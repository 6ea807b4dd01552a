"""Labelled videos of a command: features by a bundle's encoder, or made elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError
from streamer.core.extras import how_to_install

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamer.models.bundle import Bundle
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.annotations import Labels
    from streamer.training.clip_dataset import LabelledClip
    from streamer.training.dataset import Example
    from streamer.training.features import TrackMaker

PARTS = ("all", "train", "validation", "test")


def check_part(split: str) -> None:
    """Raise ConfigError unless it is one of `PARTS`."""
    if split not in PARTS:
        raise ConfigError(f"--split: expected one of {', '.join(PARTS)}, found {split!r}")


def load_labelled(
    bundle: Bundle,
    videos: Path,
    *,
    labels: Labels,
    split: str,
    seed: int,
    encoder: str | None,
    device: str | None,
    cache: Path,
) -> tuple[Example, ...]:
    """Features and truth of the videos, with a line of progress.

    Args:
        bundle: Whose features are meant.
        videos: The table.
        labels: That it may name.
        split: One of `PARTS`.
        seed: Of the split.
        encoder: Another name of the bundle's encoder, or None.
        device: Where the encoder runs.
        cache: Folder of features that are made here.

    Raises:
        ConfigError: The table or a video is not usable.
        ModelError: The encoder is not the bundle's.
    """
    from streamer.cli.progress import clip_progress
    from streamer.runtime.clock import SystemClock
    from streamer.training.annotations import Split
    from streamer.training.evaluation.videos import load_videos

    with (
        open_features(bundle, videos, encoder=encoder, device=device, cache=cache) as maker,
        clip_progress() as progress,
    ):
        return load_videos(
            videos,
            labels=labels,
            split=None if split == "all" else Split(split),
            seed=seed,
            maker=maker,
            clock=SystemClock(),
            progress=progress,
        )


def load_labelled_clips(
    bundle: Bundle,
    videos: Path,
    *,
    split: str,
    seed: int,
    encoder: str | None,
    device: str | None,
    cache: Path,
) -> tuple[LabelledClip, ...]:
    """Features and truth of the clips of a head other than `frames`. See `load_labelled`."""
    from streamer.cli.progress import clip_progress
    from streamer.runtime.clock import SystemClock
    from streamer.training.annotations import Split
    from streamer.training.clip_dataset import load_clips

    config = bundle.config
    with (
        open_features(bundle, videos, encoder=encoder, device=device, cache=cache) as maker,
        clip_progress() as progress,
    ):
        return load_clips(
            videos,
            head=config.head,
            pooling=config.pooling,
            names=config.phases or config.targets,
            split=None if split == "all" else Split(split),
            seed=seed,
            maker=maker,
            clock=SystemClock(),
            progress=progress,
        )


@contextmanager
def open_features(
    bundle: Bundle, videos: Path, *, encoder: str | None, device: str | None, cache: Path
) -> Iterator[TrackMaker]:
    """What gives the features of a table's videos: a bundle's encoder, or files made elsewhere.

    Args:
        bundle: Whose features are meant.
        videos: The table.
        encoder: Another name of the bundle's encoder, or None.
        device: Where the encoder runs.
        cache: Folder of features that are made here.

    Raises:
        ConfigError: The table can't be read, or nothing describes its feature files.
        ModelError: The encoder is not the bundle's.
    """
    from streamer.models.encoders.registry import open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.external import ExternalEncoder, ExternalTracks, find_feature_set
    from streamer.training.features import FeatureMaker

    config, clock = bundle.config, SystemClock()
    made_elsewhere = find_feature_set(videos)
    opened: Encoder
    maker: TrackMaker
    if made_elsewhere is None:
        opened = open_encoder(
            encoder or config.encoder, preprocess=bundle.preprocess, device=device
        )
        maker = FeatureMaker(opened, analysis_fps=config.analysis_fps, cache=cache, clock=clock)
    else:
        opened = ExternalEncoder(made_elsewhere)
        maker = ExternalTracks(made_elsewhere, analysis_fps=config.analysis_fps)
    try:
        _check_encoder(bundle, opened)
        yield maker
    finally:
        opened.close()


def need_matplotlib(command: str) -> None:
    """Raise ConfigError if there is no matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            f"{command}: needs {error.name}, which can't be imported; "
            f"{how_to_install('cpu', 'train')}"
        ) from error
    del mpl


def _check_encoder(bundle: Bundle, encoder: Encoder) -> None:
    config = bundle.config
    if encoder.encoder_id != config.encoder_id:
        raise ModelError(
            f"bundle {config.name} expects encoder {config.encoder} ({config.encoder_id}), "
            f"found {encoder.name} ({encoder.encoder_id})"
        )
