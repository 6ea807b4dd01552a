"""What `decoder.json` says of the filter over phases."""

from __future__ import annotations

from itertools import pairwise

import msgspec

SUM_TOLERANCE = 1e-6
MAX_EVIDENCE_WEIGHT = 4.0
"""Above it one frame could outweigh what 64-bit floats hold."""


class PhaseFilterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A hidden semi-Markov chain of phases. P counts phases.

    A phase lasts as long as its stages take, one after the other, each leaving at the rate
    stages / mean per second of video: an Erlang distribution. One stage is the memoryless case.

    Attributes:
        initial_P: Probability of each phase at the first frame.
        transition_PP: Per phase, the probability of each that may follow; 0 forbids. 0 in the
            diagonal. A phase that nothing follows has a row of zeros.
        mean_seconds_P: Mean duration.
        stages_P: Shape of the duration's distribution.
        prior_P: Part of the frames with each phase, where the model learned.
        prior_exponent: The model's probabilities are divided by `prior_P` to this power: its
            outputs follow how frequent a phase is, a likelihood does not.
        evidence_weight: Power of a frame's likelihood: below 1, since the errors of frames that
            follow each other are alike.
        smoothing_seconds: Time constant of the exponential smoothing before it; 0: none.
        lag_frames: A frame's phase is confirmed when so many more have been seen.
    """

    initial_P: tuple[float, ...]
    transition_PP: tuple[tuple[float, ...], ...]
    mean_seconds_P: tuple[float, ...]
    stages_P: tuple[int, ...]
    prior_P: tuple[float, ...]
    prior_exponent: float = 0.0
    evidence_weight: float = 1.0
    smoothing_seconds: float = 0.0
    lag_frames: int = 0

    def __post_init__(self) -> None:
        lengths = [len(value) for value in (self.initial_P, *self.columns())]
        if lengths[0] < 1 or any(a != b for a, b in pairwise(lengths)):
            raise ValueError(f"phase filter: expected one value per phase, found {lengths}")
        self._check_chances()
        if min(self.mean_seconds_P) <= 0 or min(self.stages_P) < 1 or min(self.prior_P) <= 0:
            raise ValueError("phase filter: expected means and priors above 0, stages of 1 or more")
        if not 0 < self.evidence_weight <= MAX_EVIDENCE_WEIGHT:
            raise ValueError(
                f"evidence_weight: expected above 0 and at most {MAX_EVIDENCE_WEIGHT}, "
                f"found {self.evidence_weight}"
            )
        if not 0 <= self.prior_exponent <= 1:
            raise ValueError(f"prior_exponent: expected 0 to 1, found {self.prior_exponent}")
        if min(self.smoothing_seconds, self.lag_frames) < 0:
            raise ValueError("phase filter: expected a lag and a smoothing of at least 0")

    @property
    def forbids(self) -> bool:
        """Whether a phase may not be followed by each other one."""
        return any(row.count(0) > 1 for row in self.transition_PP)

    def columns(self) -> tuple[tuple[object, ...], ...]:
        """All that must have one entry per phase, beside `initial_P`."""
        return (
            self.transition_PP,
            *self.transition_PP,
            self.mean_seconds_P,
            self.stages_P,
            self.prior_P,
        )

    def _check_chances(self) -> None:
        for name, row in (("initial_P", self.initial_P), ("prior_P", self.prior_P)):
            if min(row) < 0 or abs(sum(row) - 1) > SUM_TOLERANCE:
                raise ValueError(f"{name}: expected probabilities that add up to 1, found {row}")
        for phase, row in enumerate(self.transition_PP):
            total = sum(row)
            if min(row) < 0 or row[phase] or (any(row) and abs(total - 1) > SUM_TOLERANCE):
                raise ValueError(
                    f"transition_PP: row {phase}: expected 0 for the phase itself and "
                    f"probabilities that add up to 1, or only zeros; found {row}"
                )
