"""`streamer predict`: what a model that is not served on streams says of recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from streamer.cli.recordings import read_tracks
from streamer.core.errors import ConfigError

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.training.clip_readings import Reading


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
    for path, track in read_tracks(loaded, videos, encoder=encoder, device=device, cache=features):
        (reading,) = read_with_bundle(loaded, [track.features_TD])
        told = {"video": str(path), "seconds": track.seconds, **_told(loaded, reading, track.pts_T)}
        print(json.dumps(told))


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
