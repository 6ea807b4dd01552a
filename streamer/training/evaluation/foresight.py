"""What a bundle with an anomaly head beside its labels foresees on labelled videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from streamer.models.temporal.torch import load_network
from streamer.training.calibration import ScoreTrack, count_alarms
from streamer.training.evaluation.tables import number
from streamer.training.fit import predict_scores
from streamer.training.foresight import guesses, see

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from streamer.models.bundle import Bundle
    from streamer.training.dataset import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What was found.

    Attributes:
        hours: Of video.
        announced: Anomalies confirmed in it, all false if nothing unusual happens there.
        error_F: Mean square error of the guesses so many frames ahead, from 1 on, in squares of
            the components' spreads in training; empty without an anticipation head.
        persistence_F: The same of the guess that nothing changes.
        mean_F: The same of the guess of the mean in training.
    """

    hours: float
    announced: int
    error_F: np.ndarray
    persistence_F: np.ndarray
    mean_F: np.ndarray

    def json(self) -> dict[str, Any]:
        """JSON types only."""
        return {
            "hours": self.hours,
            "anomalies_announced": self.announced,
            "anticipation": [
                {"frames": k + 1, "mse": mse, "mse_last_feature": last, "mse_mean": mean}
                for k, (mse, last, mean) in enumerate(
                    zip(
                        self.error_F.tolist(),
                        self.persistence_F.tolist(),
                        self.mean_F.tolist(),
                        strict=True,
                    )
                )
            ],
        }


def measure_foresight(bundle: Bundle, examples: Sequence[Example]) -> Foreseen | None:
    """Let a bundle's float32 weights look ahead; None if it has no anomaly head.

    Raises:
        ModelError: The weights do not fit.
    """
    config, thresholds = bundle.config, bundle.decoder.anomaly
    if thresholds is None:
        return None
    network = load_network(bundle)
    announced, seconds = 0, 0.0
    for scores_T, example in zip(predict_scores(network, examples), examples, strict=True):
        track = ScoreTrack(scores_T, example.pts_T)
        seconds += track.seconds
        announced += count_alarms(thresholds, track, analysis_fps=config.analysis_fps)
    sums_3F, count = np.zeros((3, config.anticipation_frames)), 0
    if config.anticipation_frames:
        for example in examples:
            frames = see(network, example)
            with torch.inference_mode():
                said, true = guesses(network, frames)
            last = frames.targets_TK[: len(true), None]
            for row, guess in enumerate((said, last, torch.zeros_like(true))):
                sums_3F[row] += (guess - true).square().mean(dim=2).sum(dim=0).double().numpy()
            count += len(true)
    errors = sums_3F / count if count else np.full_like(sums_3F, np.nan)
    return Foreseen(
        hours=seconds / 3600,
        announced=announced,
        error_F=errors[0],
        persistence_F=errors[1],
        mean_F=errors[2],
    )


def foresight_lines(foreseen: Foreseen, *, number_: int, analysis_fps: float) -> Iterator[str]:
    """A section of the report."""
    yield from ("", f"## What bundle {number_} foresees", "")
    rate = foreseen.announced / foreseen.hours if foreseen.hours else float("nan")
    yield (
        f"- **Anomalies**: {foreseen.announced} announced in {60 * foreseen.hours:.1f} minutes, "
        f"{number(rate)} per hour: all of them false if nothing unusual happens in these videos"
    )
    if not len(foreseen.error_F):
        return
    yield (
        "- **Anticipation**: mean square error of the components that are guessed, in squares of "
        "their spreads in training, beside the guess that nothing changes and that of the mean"
    )
    yield from ("", "| frames ahead | seconds | guessed | last feature | mean |")
    yield "|---:|---:|---:|---:|---:|"
    rows = zip(foreseen.error_F, foreseen.persistence_F, foreseen.mean_F, strict=True)
    for k, errors in enumerate(rows, start=1):
        cells = " | ".join(number(float(error)) for error in errors)
        yield f"| {k} | {k / analysis_fps:.2f} | {cells} |"
