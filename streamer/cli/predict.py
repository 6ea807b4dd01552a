"""`streamer predict`: what a model that is not served on streams says of recordings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from streamer.core.errors import ConfigError, ModelError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.models.bundle import Bundle
    from streamer.training.clip_readings import Reading
    from streamer.training.features import FeatureTrack


def predict(
    videos: list[Path] = typer.Argument(help="Recordings, each read as one clip."),
    bundle: str = typer.Option(..., help="A folder, of any head but frames."),
    encoder: str | None = typer.Option(None, help="Default: the bundle's."),
    device: str | None = typer.Option(None, help="Where the encoder runs."),
    features: Path = typer.Option(Path("features"), help="Cache of features."),
) -> None:
    """Print a line of JSON for each recording: its class, phases, values or caption."""
    from streamer.models.bundle import Bundle
    from streamer.training.clip_readings import read_with_bundle

    loaded = Bundle.load(bundle)
    if loaded.config.head == "frames":
        raise ConfigError(
            f"predict: {loaded.path}: expected a head beyond frames, found frames; its events come "
            "from streamer run VIDEO"
        )
    for path, track in _tracks(loaded, videos, encoder=encoder, device=device, cache=features):
        (reading,) = read_with_bundle(loaded, [track.features_TD])
        told = {"video": str(path), "seconds": track.seconds, **_told(loaded, reading, track.pts_T)}
        print(json.dumps(told))


def _tracks(
    bundle: Bundle, paths: Sequence[Path], *, encoder: str | None, device: str | None, cache: Path
) -> Iterator[tuple[Path, FeatureTrack]]:
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


def _told(bundle: Bundle, reading: Reading, pts_T: np.ndarray) -> dict[str, Any]:
    config = bundle.config
    pts_T = pts_T - pts_T[0]
    if config.head == "caption":
        return {"caption": " ".join(config.targets[word] for word in reading.words)}
    if config.head == "ctc":
        from streamer.models.temporal.heads.ctc import BeamState, beam_step
        from streamer.training.clip_readings import BEAM_WIDTH

        best = beam_step(BeamState(), reading.outputs, width=BEAM_WIDTH).best
        begun = zip(best.labels, best.frames, strict=True)
        return {
            "phases": [
                {"label": config.phases[label], "start": float(pts_T[frame])}
                for label, frame in begun
            ]
        }
    if config.head == "sequence":
        said = dict(zip(config.phases, reading.outputs.tolist(), strict=True))
        told: dict[str, Any] = {"label": max(said, key=lambda name: said[name])}
        told["probabilities"] = said
    elif reading.outputs.ndim == 1:
        told = {"values": dict(zip(config.targets, reading.outputs.tolist(), strict=True))}
    else:
        columns = dict(zip(config.targets, reading.outputs.T.tolist(), strict=True))
        return {"times": pts_T.tolist(), "values": columns}
    assert reading.weights is not None, "a head with pooling has weights"
    return {**told, "peak_seconds": float(pts_T[int(reading.weights.argmax())])}
