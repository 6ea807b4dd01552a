"""Clip → features, by the same parts as in serving, kept on disk."""

from __future__ import annotations

import hashlib
import math
import os
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from streamer.core.errors import ConfigError
from streamer.sources.sampler import Sampler

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.models.encoders.encoder import Encoder
    from streamer.sources.source import Source
    from streamer.training.annotations import Annotation

CACHE_VERSION = 1
"""Grows when the same clip and encoder come to mean other features."""


class Clip(Protocol):
    """A labelled stretch of video."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def compressed(self) -> bool:
        """Whether it went through a video codec."""
        ...

    def annotations(self, clock: Clock) -> list[Annotation]:
        """What is true in it."""
        ...

    def fingerprint(self, clock: Clock) -> str:
        """Digest of what it shows."""
        ...

    def source(self, clock: Clock) -> AbstractContextManager[Source]:
        """The clip as a source, not yet opened."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureTrack:
    """Features of the analysed frames of a clip.

    Attributes:
        features_TD: float16.
        pts_T: float64, presentation times in seconds.
    """

    features_TD: np.ndarray
    pts_T: np.ndarray

    def __post_init__(self) -> None:
        if self.features_TD.dtype != np.float16 or self.features_TD.ndim != 2:
            raise ValueError(
                f"expected float16 (T, D), found {self.features_TD.dtype} {self.features_TD.shape}"
            )
        if self.pts_T.shape != self.features_TD.shape[:1]:
            raise ValueError(f"expected {len(self.features_TD)} times, found {self.pts_T.shape}")

    @property
    def seconds(self) -> float:
        """From the first frame to the last."""
        return float(self.pts_T[-1] - self.pts_T[0]) if len(self.pts_T) else 0.0

    def between(self, start_seconds: float, end_seconds: float) -> FeatureTrack:
        """The frames from a time until just before another."""
        kept_T = (self.pts_T >= start_seconds) & (self.pts_T < end_seconds)
        return FeatureTrack(self.features_TD[kept_T], self.pts_T[kept_T])


class TrackMaker(Protocol):
    """Gives the features of clips: made here, or elsewhere."""

    def track(self, clip: Clip, *, report: Callable[[float], None] | None = None) -> FeatureTrack:
        """The features of a clip. `report` is told how many seconds of it are done."""
        ...


class FeatureMaker:
    """Turns clips into feature tracks: from the cache, or by decoding, sampling and encoding.

    A file of the cache is named by a digest of `encoder_id`, `analysis_fps` and the clip's
    fingerprint. `encoder_id` is itself a digest of the weights, the normalisation and the
    preprocessing (size, fit and filter), so changing any of them makes the features anew.

    Args:
        encoder: Makes the features.
        analysis_fps: Frames per second that are analysed.
        cache: Folder of the cache. Files are written beside and renamed: runs may share it.
        clock: For the sources.
    """

    def __init__(self, encoder: Encoder, *, analysis_fps: float, cache: Path, clock: Clock) -> None:
        self._encoder = encoder
        self._analysis_fps = analysis_fps
        self._cache = cache
        self._clock = clock

    def track(self, clip: Clip, *, report: Callable[[float], None] | None = None) -> FeatureTrack:
        """The features of a clip.

        Args:
            clip: What to look at.
            report: Is told how many seconds of it are done, after each batch.

        Raises:
            SourceError: It can't be opened or read.
            ConfigError: No frame came of it.
        """
        path = self._path(clip)
        known = _load(path)
        if known is not None:
            return known
        made = self._make(clip, report)
        _save(path, made)
        return made

    def _path(self, clip: Clip) -> Path:
        parts = (
            str(CACHE_VERSION),
            self._encoder.encoder_id,
            repr(self._analysis_fps),
            clip.fingerprint(self._clock),
        )
        digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
        return self._cache / f"{digest[:32]}.npz"

    def _make(self, clip: Clip, report: Callable[[float], None] | None) -> FeatureTrack:
        with clip.source(self._clock) as source:
            track = read_features(
                source,
                self._encoder,
                analysis_fps=self._analysis_fps,
                progress=report or (lambda seconds: None),
            )
        if not len(track.pts_T):
            raise ConfigError(f"{clip.name}: expected frames, found none; leave it out")
        return track


def read_features(
    source: Source,
    encoder: Encoder,
    *,
    analysis_fps: float,
    seconds: float = math.inf,
    progress: Callable[[float], None] = lambda seconds: None,
) -> FeatureTrack:
    """Open a source, read it, and close it.

    Args:
        source: Not yet opened.
        encoder: Makes the features, in batches as large as it likes.
        analysis_fps: Frames per second that are analysed.
        seconds: Presentation time at which to stop, if it does not end before.
        progress: Is told the presentation time after each batch.

    Raises:
        SourceError: It can't be opened or read.
    """
    sampler = Sampler(analysis_fps)
    images: list[np.ndarray] = []
    features: list[np.ndarray] = []
    pts: list[float] = []

    def encode() -> None:
        features.append(encoder.encode(np.stack(images)))
        images.clear()
        progress(pts[-1])

    source.open()
    try:
        for frame in source.frames():
            if frame.pts_seconds >= seconds:
                break
            if not sampler.take(frame.pts_seconds):
                continue
            pts.append(frame.pts_seconds)
            images.append(frame.to_image(encoder.preprocess))
            if len(images) == encoder.batch_policy.max_size:
                encode()
    finally:
        source.close()
    if images:
        encode()
    empty_TD = np.zeros((0, encoder.feature_dim), np.float16)
    return FeatureTrack(np.concatenate([empty_TD, *features]), np.array(pts, np.float64))


def _load(path: Path) -> FeatureTrack | None:
    """None where there is none, or where it is damaged: then it is made again."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return FeatureTrack(arrays["features"], arrays["pts"])
    except (FileNotFoundError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _save(path: Path, track: FeatureTrack) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.partial")
    with beside.open("wb") as file:
        np.savez(file, features=track.features_TD, pts=track.pts_T)
    beside.replace(path)
