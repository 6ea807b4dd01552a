"""Exponential smoothing of probabilities over video time."""

from __future__ import annotations

import numpy as np


def smooth(
    smoothed_C: np.ndarray, raw_C: np.ndarray, *, step_seconds: float, tau_seconds: float
) -> np.ndarray:
    """One step of a first-order low-pass, exact for steps of any length; float32 (C,).

    Args:
        smoothed_C: float32, before the step; NaN before the first frame.
        raw_C: float32, of this frame.
        step_seconds: Since the frame before it.
        tau_seconds: Time constant; 0: no smoothing.
    """
    if tau_seconds <= 0 or not len(raw_C) or np.isnan(smoothed_C[0]):
        return raw_C
    weight = np.float32(1 - np.exp(-step_seconds / tau_seconds))
    approached_C: np.ndarray = smoothed_C + weight * (raw_C - smoothed_C)
    return approached_C
