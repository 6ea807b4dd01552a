"""How scores of the anomaly head become alarms: a part of `decoder.json`."""

from __future__ import annotations

import math

import msgspec


class AnomalyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Calibrated on video that showed nothing unusual.

    Scores are nats per predicted dimension: see `streamer.models.temporal.anomaly`.

    Attributes:
        smoothing_seconds: Time constant of the exponential smoothing; 0: none.
        enter: Smoothed score at which a segment begins.
        exit: Smoothed score below which it ends.
        ceiling: A frame counts no more than this, so that neither one frame alone raises an alarm
            nor a very strange one holds it.
        tail_scale: On normal video, scores higher by this many nats are e times as rare.
        min_on_seconds: A segment that did not last so long is retracted.
        min_off_seconds: A segment ends once it was below `exit` for so long.
        warmup_seconds: Nothing is announced so soon after a state began anew.
        false_alarms_per_hour: On normal video, what `enter` was calibrated to.
    """

    smoothing_seconds: float
    enter: float
    exit: float
    ceiling: float
    tail_scale: float
    min_on_seconds: float
    min_off_seconds: float
    warmup_seconds: float
    false_alarms_per_hour: float

    def __post_init__(self) -> None:
        if not self.exit <= self.enter < self.ceiling:
            raise ValueError(
                f"expected exit <= enter < ceiling, found exit {self.exit}, enter {self.enter} and "
                f"ceiling {self.ceiling}"
            )
        for name in ("tail_scale", "false_alarms_per_hour"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected above 0, found {getattr(self, name)}")
        for name in ("smoothing_seconds", "min_on_seconds", "min_off_seconds", "warmup_seconds"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}: expected at least 0, found {getattr(self, name)}")

    def confidence(self, score: float) -> float:
        """Probability, 0–1, that a smoothed score is of an anomaly.

        By Bayes' rule, if true anomalies were as frequent as the false alarms it was calibrated
        to: scores of normal video reach `enter` at that rate, and `score` at one lower by the
        exponential tail. So it is 0.5 at `enter`.
        """
        return 1 / (1 + math.exp(min(500.0, (self.enter - score) / self.tail_scale)))
