"""`streamer fit --self-supervised`: from a camera or a recording, without labels, to a bundle."""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, SourceError
from streamer.sources.credentials import redact, resolve_credentials
from streamer.sources.grammar import open_source, parse_source

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.encoders.encoder import Encoder
    from streamer.training.features import FeatureTrack
    from streamer.training.fit import Check
    from streamer.training.run import Shape

LIVE_MINUTES = 30.0
"""How long a source is recorded that has no end, unless it is said."""
TELL_SECONDS = 10.0


def fit_camera(
    out: Path,
    text: str,
    *,
    minutes: float | None,
    false_alarms_per_hour: float,
    encoder: str,
    analysis_fps: float,
    name: str | None,
    shape: Shape,
    updates: int,
    seed: int,
) -> Bundle:
    """Record a source, learn what is normal on it, and write a bundle.

    Args:
        out: Folder of the run.
        text: The source, as in `streamer run`.
        minutes: How much of it; None for all of a file, `LIVE_MINUTES` of a camera.
        false_alarms_per_hour: What the threshold is calibrated to.
        encoder: Its name.
        analysis_fps: Frames per second.
        name: Of the bundle; None: the stream's.
        shape: Of the network.
        updates: Most updates of the weights.
        seed: Of all chance.

    Raises:
        ConfigError: The source is none, or the recording is too short for that rate.
        SourceError: It can't be opened or read.
    """
    from streamer.models.encoders.registry import open_encoder
    from streamer.training.export import check_place
    from streamer.training.foresight import ANOMALY_DIM
    from streamer.training.recipe import Recipe
    from streamer.training.selfsupervised import (
        check_length,
        make_anomaly_config,
        train_anomaly_bundle,
    )

    check_place(out / "bundle")
    if minutes is not None:
        # Before the recording, not after it.
        check_length(60 * minutes, false_alarms_per_hour=false_alarms_per_hour)
    opened = open_encoder(encoder)
    try:
        stream_id, track = _record(text, minutes=minutes, encoder=opened, fps=analysis_fps)
    finally:
        opened.close()
    origin = f"{track.seconds / 60:.1f} minutes of `{stream_id}`, without labels"
    config = make_anomaly_config(
        shape,
        name=name or stream_id,
        encoder=opened,
        analysis_fps=analysis_fps,
        anomaly_dim=ANOMALY_DIM,
    )
    recipe = Recipe(
        num_lanes=16,
        num_steps=48,
        max_updates=updates,
        warmup_updates=min(50, updates),
        dropout=0.1,
        noise=0.1,
        shift=0.0,
        check_every=50,
        patience=4,
        seed=seed,
    )
    return train_anomaly_bundle(
        out,
        track,
        origin=origin,
        config=config,
        encoder=opened,
        recipe=recipe,
        false_alarms_per_hour=false_alarms_per_hour,
        progress=_say_check,
    )


def _record(
    text: str, *, minutes: float | None, encoder: Encoder, fps: float
) -> tuple[str, FeatureTrack]:
    """The stream's id and its features."""
    from streamer.runtime.clock import SystemClock
    from streamer.training.features import read_features

    vault: dict[str, str] = {}
    spec = parse_source(text, vault=vault)
    credentials = None
    if spec.credentials is not None:
        known = {**os.environ, **vault}
        credentials = resolve_credentials(spec.credentials, environment=known)
    source = open_source(spec, clock=SystemClock(), credentials=credentials)
    if minutes is None and source.endless:
        minutes = LIVE_MINUTES
    seconds = math.inf if minutes is None else 60 * minutes
    length = "all of it" if minutes is None else f"{minutes:g} minutes"
    print(f"recording {spec.stream_id}: {length}; nothing unusual should happen", file=sys.stderr)
    try:
        track = read_features(
            source, encoder, analysis_fps=fps, seconds=seconds, progress=_Progress()
        )
    except SourceError as error:
        where = redact(spec.url)
        told = str(error) if where in str(error) else f"{where}: {error}"
        raise SourceError(told, retryable=error.retryable, reason=error.reason) from error
    if not len(track.pts_T):
        raise ConfigError(f"{redact(spec.url)}: expected frames, found none; give another source")
    print(f"recorded {len(track.pts_T)} frames, {track.seconds / 60:.1f} minutes", file=sys.stderr)
    return spec.stream_id, track


class _Progress:
    """Tells how far the recording is, now and then."""

    def __init__(self) -> None:
        self._tell_at = time.monotonic() + TELL_SECONDS

    def __call__(self, seconds: float) -> None:
        if time.monotonic() >= self._tell_at:
            self._tell_at = time.monotonic() + TELL_SECONDS
            print(f"  {seconds / 60:.1f} minutes so far", file=sys.stderr)


def _say_check(check: Check) -> None:
    print(
        f"update {check.update}: surprise {check.train_loss:.3f} nats per dimension in training, "
        f"{check.validation_loss:.3f} on video not trained on",
        file=sys.stderr,
    )
