"""Training on features that were made elsewhere: what stands for the encoder and for the maker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ConfigError, ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.encoders.encoder import BatchPolicy
from streamer.sources.sampler import Sampler
from streamer.training.annotations.table import scan_videos
from streamer.training.feature_file import SUFFIX, read_feature_set, read_features
from streamer.training.features import FeatureTrack
from streamer.training.video import VideoClip

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from streamer.training.feature_file import FeatureSet
    from streamer.training.features import Clip


class ExternalEncoder:
    """Stands for the unknown encoder of a `FeatureSet`. See `Encoder`.

    A bundle trained on its features runs only where somebody feeds it the same features: no
    encoder of this project has its `encoder_id`.
    """

    def __init__(self, features: FeatureSet) -> None:
        self.name = f"external:{features.name}"
        self.encoder_id = features.encoder_id
        self.feature_dim = features.feature_dim
        self.preprocess = Preprocess()
        self.batch_policy = BatchPolicy(max_size=1, max_wait_seconds=0.0)

        self.backend, self.device = "external", "none"

    def encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Raise ModelError: nobody knows how."""
        raise ModelError(
            f"{self.name}: expected features made elsewhere, found {len(images_NHWC)} pictures; "
            "choose an encoder of this project, and train on videos"
        )

    def memory_bytes(self) -> Mapping[str, int]:
        """It has none."""
        return {}

    def close(self) -> None:
        """Nothing to free."""


class ExternalTracks:
    """Reads feature files, sampled to the analysed rate as frames of a video would be.

    Args:
        features: What the files are.
        analysis_fps: Frames per second; more than the files have gives all they have.
    """

    def __init__(self, features: FeatureSet, *, analysis_fps: float) -> None:
        self._features = features
        self._analysis_fps = analysis_fps

    def track(self, clip: Clip, *, report: Callable[[float], None] | None = None) -> FeatureTrack:
        """The features of a clip whose path is a `.npy` file.

        Raises:
            ConfigError: The file is missing or something else.
        """
        if not isinstance(clip, VideoClip):
            raise ConfigError(
                f"{clip.name}: expected a feature file, found a {type(clip).__name__}"
            )
        features_TD = read_features(clip.path, self._features)
        sampler = Sampler(self._analysis_fps)
        pts_T = np.arange(len(features_TD)) / self._features.fps
        taken_T = np.array([sampler.take(seconds) for seconds in pts_T], bool)
        if report is not None:
            report(float(pts_T[-1]))
        return FeatureTrack(features_TD[taken_T], pts_T[taken_T])


def find_feature_set(table: Path) -> FeatureSet | None:
    """What the feature files of a table are; None if its rows name videos.

    Raises:
        ConfigError: The table can't be read, or nothing describes its feature files.
    """
    if not any(video.suffix == SUFFIX for video in scan_videos(table)):
        return None
    return read_feature_set(table)
