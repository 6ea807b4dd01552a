"""How far predicted numbers are from true ones."""

from __future__ import annotations

import numpy as np


def regression_scores(predicted_N: np.ndarray, truth_N: np.ndarray) -> dict[str, float]:
    """MSE, RMSE, MAE and R².

    R² is 1 - (sum of squared errors) / (sum of squared distances from the true mean): 1 is perfect,
    0 no better than the mean, below 0 worse. NaN where the truth never changes.

    Args:
        predicted_N: float, any shape.
        truth_N: The same shape. Frames where it is NaN are left out.

    Raises:
        ValueError: The shapes differ.
    """
    if predicted_N.shape != truth_N.shape:
        raise ValueError(f"expected one shape, found {predicted_N.shape} and {truth_N.shape}")
    known_N = ~np.isnan(truth_N)
    truth_N = truth_N[known_N].astype(np.float64)
    errors_N = predicted_N[known_N].astype(np.float64) - truth_N
    if not len(errors_N):
        return dict.fromkeys(("mse", "rmse", "mae", "r2"), float("nan"))
    squares, spread = float((errors_N**2).sum()), float(((truth_N - truth_N.mean()) ** 2).sum())
    mse = squares / len(errors_N)
    return {
        "mse": mse,
        "rmse": mse**0.5,
        "mae": float(np.abs(errors_N).mean()),
        "r2": 1 - squares / spread if spread else float("nan"),
    }
