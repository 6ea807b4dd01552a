"""Beam search for captions, whatever library runs the decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

SpeakerState = tuple[np.ndarray, np.ndarray]
"""Hidden and cell of the decoder, float32 (N, H) each."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption that was found.

    Attributes:
        words: Indices.
        log_prob: Of the caption and of its ending there, in nats.
        weights_ST: Where the decoder looked when it said each word, float32 (words, T).
    """

    words: tuple[int, ...]
    log_prob: float
    weights_ST: np.ndarray

    @property
    def score(self) -> float:
        """Nats per symbol: so that long captions compare with short ones."""
        return self.log_prob / (len(self.words) + 1)


class Speaker(Protocol):
    """A decoder that has one clip before it."""

    @property
    def end(self) -> int:
        """The symbol before and after a caption, the last of V + 1."""
        ...

    @property
    def num_frames(self) -> int:
        """T of the clip."""
        ...

    def start(self) -> SpeakerState:
        """Before the first word, of one caption."""
        ...

    def step(
        self, state: SpeakerState, words_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, SpeakerState]:
        """The next word of N captions.

        Args:
            state: After the words before.
            words_N: int64, the word before; `end` for none.

        Returns:
            logits (N, V + 1), weights over time (T, N), and the state after it.
        """
        ...


def beam_search(speaker: Speaker, *, width: int = 4, max_words: int = 40) -> list[Caption]:
    """Captions of one clip, best first; with `width` 1, the greedy one alone.

    At each step the most probable `width` continuations are kept, finished ones set aside; it ends
    once as many are finished, or at `max_words`, where what is unfinished is taken as it is.

    Args:
        speaker: Of the clip.
        width: At least 1.
        max_words: Longest caption.
    """
    end, state = speaker.end, speaker.start()
    live = [Caption((), 0.0, np.zeros((0, speaker.num_frames), np.float32))]
    done: list[Caption] = []
    for step in range(max_words + 1):
        before_N = np.array([caption.words[-1] if step else end for caption in live], np.int64)
        logits_NV, weights_TN, state = speaker.step(state, before_N)
        totals_NV = _log_softmax(logits_NV) + np.array([[caption.log_prob] for caption in live])
        if step == max_words:
            ends_N = totals_NV[:, end].tolist()
            done += [Caption(c.words, e, c.weights_ST) for c, e in zip(live, ends_N, strict=True)]
            break
        parents, kept = [], []
        for place in np.argsort(-totals_NV, axis=None, kind="stable")[:width].tolist():
            row, word = divmod(place, totals_NV.shape[1])
            total = float(totals_NV[row, word])
            if word == end:
                done.append(Caption(live[row].words, total, live[row].weights_ST))
                continue
            weights_ST = np.concatenate((live[row].weights_ST, weights_TN[None, :, row]))
            kept.append(Caption((*live[row].words, word), total, weights_ST))
            parents.append(row)
        if len(done) >= width or not kept:
            break
        live, state = kept, (state[0][parents], state[1][parents])
    return sorted(done, key=lambda caption: -caption.score)


def _log_softmax(logits_NV: np.ndarray) -> np.ndarray:
    shifted_NV = logits_NV.astype(np.float64) - logits_NV.max(axis=1, keepdims=True)
    return np.asarray(shifted_NV - np.log(np.exp(shifted_NV).sum(axis=1, keepdims=True)))
