"""How good predictions are: pure functions over arrays and segments, each with its source.

`frames` and `ranking` judge single frames, `segments` what holds how long, `points` and `onsets`
when something is noticed, `stability` what is said for nothing, `calibration` what probabilities
are worth, `regression` numbers, `captions` texts, and `bootstrap` how sure all of that is.
"""

from streamer.training.metrics.counts import Counts
from streamer.training.metrics.frames import frame_counts, macro_f1
from streamer.training.metrics.onsets import onset_errors
from streamer.training.metrics.segments import (
    Stretch,
    edit_score,
    painted,
    segment_counts,
    stretches,
    without,
)

__all__ = [
    "Counts",
    "Stretch",
    "edit_score",
    "frame_counts",
    "macro_f1",
    "onset_errors",
    "painted",
    "segment_counts",
    "stretches",
    "without",
]
