"""Features of short clips by the shipped encoder, from several views, kept on disk.

Beside the pictures themselves, the differences of consecutive analysed pictures are encoded: what
moves, where nothing else shows (the input of Sudhakaran and Lanz, "Learning to detect violent
videos using convolutional LSTM", AVSS 2017).
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.preprocess import Preprocess
from streamer.sources.sampler import Sampler
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.core.clock import Clock
    from streamer.models.encoders.encoder import Encoder

VIEWS = ("whole", "mirrored", "tiles")
"""The picture; its mirror image; its four quarters, each as large as the encoder takes it."""
GAIN = 2
"""Of differences: few pixels change by more than half of the range."""
CACHE_VERSION = 1


def clip_features(
    path: Path, *, view: str, encoder: Encoder, analysis_fps: float, cache: Path, clock: Clock
) -> np.ndarray:
    """float16 (T, V, 2, D): V parts of the view (1, or 4 tiles), of the picture and the difference.

    The first frame has no difference; it gets that of the second.

    Raises:
        SourceError: The clip can't be read.
    """
    clip = VideoClip(path, ())
    parts = (CACHE_VERSION, encoder.encoder_id, analysis_fps, view, clip.fingerprint(clock))
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()
    kept = cache / f"{digest[:32]}.npy"
    if kept.exists():
        return np.asarray(np.load(kept, allow_pickle=False))
    images_TVHWC = _images(clip, view, encoder.preprocess, analysis_fps, clock)
    before = images_TVHWC[:-1].astype(np.int16)
    moved = np.minimum(255, GAIN * np.abs(images_TVHWC[1:] - before)).astype(np.uint8)
    differences_TVHWC = np.concatenate((moved[:1], moved))
    features = np.stack(
        [_encode(encoder, images) for images in (images_TVHWC, differences_TVHWC)], axis=2
    )
    cache.mkdir(parents=True, exist_ok=True)
    beside = kept.with_suffix(f".{os.getpid()}.partial")
    with beside.open("wb") as file:
        np.save(file, features)
    beside.replace(kept)
    return features


def _images(
    clip: VideoClip, view: str, preprocess: Preprocess, analysis_fps: float, clock: Clock
) -> np.ndarray:
    """uint8 (T, V, H, W, 3) of the analysed frames."""
    height, width, _ = preprocess.shape
    scale = 2 if view == "tiles" else 1
    size = Preprocess(
        width=scale * width,
        height=scale * height,
        fit=preprocess.fit,
        interpolation=preprocess.interpolation,
    )
    sampler, images = Sampler(analysis_fps), []
    with clip.source(clock) as source:
        source.open()
        try:
            images = [
                frame.to_image(size) for frame in source.frames() if sampler.take(frame.pts_seconds)
            ]
        finally:
            source.close()
    stacked = np.stack(images)
    if view == "mirrored":
        stacked = stacked[:, :, ::-1]
    rows = stacked.reshape(len(stacked), scale, height, scale, width, 3)
    return np.ascontiguousarray(rows.swapaxes(2, 3)).reshape(len(stacked), -1, height, width, 3)


def _encode(encoder: Encoder, images_TVHWC: np.ndarray) -> np.ndarray:
    rows = images_TVHWC.reshape(-1, *images_TVHWC.shape[2:])
    size = encoder.batch_policy.max_size
    features = [encoder.encode(rows[i : i + size]) for i in range(0, len(rows), size)]
    return np.concatenate(features).reshape(*images_TVHWC.shape[:2], -1)
