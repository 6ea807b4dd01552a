"""What probabilities are worth: negative log-likelihood, Brier score, calibration error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NUM_BINS = 15
_SMALLEST = 1e-12
"""A probability of 0 costs as much as this one: 27.6 nats."""


@dataclass(frozen=True, slots=True)
class CalibrationSums:
    """Sums over predictions, in one row each so that they can be added and weighted.

    Attributes:
        sums: float64 (3,): number of predictions, their negative log-likelihood, their Brier score.
        bins_M3: float64 (M, 3): per bin of confidence the number of predictions, the sum of their
            confidences, and how many were right.
    """

    sums: np.ndarray
    bins_M3: np.ndarray

    @property
    def nll(self) -> float:
        """Nats per prediction; NaN of none."""
        return _ratio(self.sums[1], self.sums[0])

    @property
    def brier(self) -> float:
        """Brier, "Verification of forecasts expressed in terms of probability" (1950).

        The squared error, summed over classes: 0 to 2. Of a yes or no it is 0 to 1: one class.
        """
        return _ratio(self.sums[2], self.sums[0])

    @property
    def ece(self) -> float:
        """Expected calibration error, 0 to 1; NaN of none.

        Guo et al., "On Calibration of Modern Neural Networks" (ICML 2017), eq. 3: the distance of
        confidence and accuracy, averaged over bins of equal width by their number of predictions.
        """
        gaps = np.abs(self.bins_M3[:, 1] - self.bins_M3[:, 2])
        return _ratio(gaps.sum(), self.bins_M3[:, 0].sum())


def class_calibration(probabilities_NC: np.ndarray, truth_N: np.ndarray) -> CalibrationSums:
    """Of one class out of many. Confidence is the probability of the most probable class.

    Args:
        probabilities_NC: Rows that sum to 1.
        truth_N: int, the class that was true.
    """
    rows = np.arange(len(truth_N))
    probabilities_NC = probabilities_NC.astype(np.float64)
    likely_N = np.maximum(probabilities_NC[rows, truth_N], _SMALLEST)
    errors_NC = probabilities_NC.copy()
    errors_NC[rows, truth_N] -= 1.0
    said_N = probabilities_NC.argmax(axis=1)
    return CalibrationSums(
        np.array([len(truth_N), -np.log(likely_N).sum(), (errors_NC**2).sum()]),
        _bins(probabilities_NC[rows, said_N], said_N == truth_N),
    )


def binary_calibration(probabilities_N: np.ndarray, truth_N: np.ndarray) -> CalibrationSums:
    """Of a yes or no. Confidence is the probability of yes, and it is right where yes is true.

    Args:
        probabilities_N: Of yes.
        truth_N: bool.
    """
    probabilities_N = probabilities_N.astype(np.float64)
    likely_N = np.where(truth_N, probabilities_N, 1.0 - probabilities_N)
    return CalibrationSums(
        np.array(
            [
                len(truth_N),
                -np.log(np.maximum(likely_N, _SMALLEST)).sum(),
                ((probabilities_N - truth_N) ** 2).sum(),
            ]
        ),
        _bins(probabilities_N, truth_N),
    )


def _bins(confidence_N: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Bin m of M holds confidences in ((m - 1) / M, m / M]."""
    bin_N = np.clip(np.ceil(confidence_N * NUM_BINS).astype(np.int64) - 1, 0, NUM_BINS - 1)
    columns = (np.ones(len(bin_N)), confidence_N, right_N.astype(np.float64))
    return np.stack(
        [np.bincount(bin_N, weights=column, minlength=NUM_BINS) for column in columns], axis=1
    )


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
