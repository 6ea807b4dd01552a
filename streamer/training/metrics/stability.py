"""What is shown for nothing: labels that flicker."""

from __future__ import annotations

import numpy as np

FLICKER_SECONDS = 1.0


def num_onsets(shown_T: np.ndarray) -> int:
    """How often something begins: frames where it is shown and was not before.

    Args:
        shown_T: bool.
    """
    return int((shown_T & ~np.append(False, shown_T[:-1])).sum())


def num_flickers(shown_T: np.ndarray, truth_T: np.ndarray, pts_T: np.ndarray) -> int:
    """How often a label was shown for less than `FLICKER_SECONDS` while it was never true.

    Args:
        shown_T: bool, whether the label was shown, as it was known at each frame.
        truth_T: bool, whether it was true.
        pts_T: Seconds. What is still shown at the last frame has no end and doesn't count.
    """
    edges = np.flatnonzero(np.diff(shown_T.astype(np.int8), prepend=0))
    return sum(
        pts_T[end] - pts_T[start] < FLICKER_SECONDS and not truth_T[start:end].any()
        for start, end in zip(edges[::2], edges[1::2], strict=False)
    )
