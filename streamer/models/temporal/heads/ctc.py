"""Decoding of CTC outputs: a path of symbols, one per frame, to the phases in their order.

Connectionist temporal classification (Graves et al., ICML 2006): a path becomes a sequence by
joining repeats and then leaving out blanks. The last of the C outputs is the blank. Both decoders
carry a state, so that frames may come in any chunks; what they say depends on the frames alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

_NEVER = -np.inf


@dataclass(frozen=True, slots=True)
class Emission:
    """A phase begins.

    Attributes:
        label: Index of the phase.
        frame: Number of the frame, from 0 at the stream's start.
        confidence: Probability of the label in that frame.
    """

    label: int
    frame: int
    confidence: float


@dataclass(frozen=True, slots=True)
class GreedyState:
    """Carried from frame to frame: the most probable symbol of the last one.

    Attributes:
        symbol: Its index; -1 before the first frame.
        num_frames: How many there were.
    """

    symbol: int = -1
    num_frames: int = 0


def greedy_step(state: GreedyState, log_probs_TC: np.ndarray) -> tuple[GreedyState, list[Emission]]:
    """Best path decoding of further frames (Graves et al., 2006, section 3.2).

    Args:
        state: After the frames before.
        log_probs_TC: (T, C), T may be 0.

    Returns:
        The state after them, and the phases that begin in them.
    """
    blank, symbol = log_probs_TC.shape[1] - 1, state.symbol
    emissions = []
    for t, best in enumerate(log_probs_TC.argmax(axis=1)):
        if best not in (blank, symbol):
            confidence = float(np.exp(log_probs_TC[t, best]))
            emissions.append(Emission(int(best), state.num_frames + t, confidence))
        symbol = int(best)
    return GreedyState(symbol, state.num_frames + len(log_probs_TC)), emissions


@dataclass(frozen=True, slots=True)
class Prefix:
    """What is known of one sequence: the log probability of all paths so far that give it.

    Attributes:
        labels: The sequence.
        frames: For each label, in which frame it began, on the likeliest way to it.
        blank: Log probability of the paths that end in a blank.
        symbol: Log probability of those that end in its last label.
    """

    labels: tuple[int, ...] = ()
    frames: tuple[int, ...] = ()
    blank: float = 0.0
    symbol: float = _NEVER

    @property
    def log_prob(self) -> float:
        """Of all paths."""
        return float(np.logaddexp(self.blank, self.symbol))


@dataclass(frozen=True, slots=True)
class BeamState:
    """The most probable sequences so far, best first."""

    prefixes: tuple[Prefix, ...] = field(default=(Prefix(),))
    num_frames: int = 0

    @property
    def best(self) -> Prefix:
        """The most probable one."""
        return self.prefixes[0]


def beam_step(state: BeamState, log_probs_TC: np.ndarray, *, width: int) -> BeamState:
    """Prefix beam search over further frames.

    Hannun et al., "First-Pass Large Vocabulary Continuous Speech Recognition using Bi-Directional
    Recurrent DNNs" (2014), algorithm 1, without a language model. With a beam so wide that nothing
    is left out, the log probabilities are those of all alignments.

    Args:
        state: After the frames before.
        log_probs_TC: (T, C), T may be 0.
        width: Sequences that are kept, at least 1.
    """
    prefixes, frame = state.prefixes, state.num_frames
    for log_probs_C in log_probs_TC.astype(float):
        found: dict[tuple[int, ...], Prefix] = {}
        for prefix in prefixes:
            for successor in _successors(prefix, log_probs_C, frame):
                known = found.get(successor.labels)
                found[successor.labels] = successor if known is None else _join(known, successor)
        ranked = sorted(found.values(), key=lambda prefix: (-prefix.log_prob, prefix.labels))
        prefixes = tuple(ranked[:width])
        frame += 1
    return BeamState(prefixes, frame)


def _successors(prefix: Prefix, log_probs_C: np.ndarray, frame: int) -> Iterator[Prefix]:
    """The sequence itself, by a blank or a repeat; and with each label after it."""
    *labels, blank = range(len(log_probs_C))
    total = prefix.log_prob
    last = prefix.labels[-1] if prefix.labels else None
    repeated = _NEVER if last is None else prefix.symbol + log_probs_C[last]
    yield Prefix(prefix.labels, prefix.frames, total + log_probs_C[blank], repeated)
    for label in labels:
        # The same label once more needs a blank between.
        before = prefix.blank if label == last else total
        yield Prefix(
            (*prefix.labels, label),
            (*prefix.frames, frame),
            _NEVER,
            before + log_probs_C[label],
        )


def _join(one: Prefix, other: Prefix) -> Prefix:
    """The same sequence, reached in two ways."""
    likelier = max(one, other, key=lambda prefix: prefix.log_prob)
    return Prefix(
        one.labels,
        likelier.frames,
        float(np.logaddexp(one.blank, other.blank)),
        float(np.logaddexp(one.symbol, other.symbol)),
    )
