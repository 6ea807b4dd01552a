"""Recordings without labels: features by a bundle's encoder, or made elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from streamer.models.bundle import Bundle
    from streamer.training.features import FeatureTrack


def read_tracks(
    bundle: Bundle, paths: Sequence[Path], *, encoder: str | None, device: str | None, cache: Path
) -> Iterator[tuple[Path, FeatureTrack]]:
    """The features of recordings, or of files of features if the bundle was trained on such.

    Args:
        bundle: Whose features are meant.
        paths: Videos or feature files.
        encoder: Another name of the bundle's encoder, or None.
        device: Where the encoder runs.
        cache: Folder of features that are made here.

    Raises:
        ConfigError: A file can't be read, or is something else.
        ModelError: The encoder is not the bundle's.
    """
    from streamer.models.encoders.registry import open_encoder
    from streamer.runtime.clock import SystemClock
    from streamer.training.external import ExternalTracks
    from streamer.training.feature_file import SUFFIX, FeatureSet, check_finite
    from streamer.training.features import FeatureMaker, TrackMaker
    from streamer.training.video import VideoClip

    config, clock = bundle.config, SystemClock()
    maker: TrackMaker
    given, _, name = config.encoder.partition(":")
    if given == "external":
        for path in paths:
            if path.suffix != SUFFIX:
                raise ConfigError(
                    f"{path}: expected features of {name!r} ({SUFFIX}, {config.feature_dim} x T at "
                    f"{config.analysis_fps:g} per second), as the bundle was trained on"
                )
        known = FeatureSet(name=name, feature_dim=config.feature_dim, fps=config.analysis_fps)
        maker = ExternalTracks(known, analysis_fps=config.analysis_fps)
    else:
        opened = open_encoder(
            encoder or config.encoder, preprocess=bundle.preprocess, device=device
        )
        if opened.encoder_id != config.encoder_id:
            raise ModelError(
                f"bundle {config.name} expects encoder {config.encoder} ({config.encoder_id}), "
                f"found {opened.name} ({opened.encoder_id})"
            )
        maker = FeatureMaker(opened, analysis_fps=config.analysis_fps, cache=cache, clock=clock)
    for path in paths:
        print(f"features of {path}", file=sys.stderr)
        try:
            track = maker.track(VideoClip(path, ()))
        except SourceError as error:
            raise ConfigError(f"{path}: the video can't be read: {error}") from error
        check_finite(str(path), track.features_TD)
        yield path, track
