"""Beam search for captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from streamer.models.temporal.heads.captioner import Captioner


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
    weights_ST: Tensor

    @property
    def score(self) -> float:
        """Nats per symbol: so that long captions compare with short ones."""
        return self.log_prob / (len(self.words) + 1)


@torch.inference_mode()
def beam_search(
    captioner: Captioner, outputs_TI: Tensor, *, width: int = 4, max_words: int = 40
) -> list[Caption]:
    """Captions of one clip, best first; with `width` 1, the greedy one alone.

    At each step the most probable `width` continuations are kept, finished ones set aside; it ends
    once as many are finished, or at `max_words`, where what is unfinished is taken as it is.

    Args:
        captioner: In evaluation mode.
        outputs_TI: Of the recurrent layers.
        width: At least 1.
        max_words: Longest caption.
    """
    memory, state = captioner.remember(outputs_TI[:, None], torch.ones_like(outputs_TI[:, :1]))
    live = [Caption((), 0.0, outputs_TI.new_zeros(0, len(outputs_TI)))]
    done: list[Caption] = []
    for step in range(max_words + 1):
        rows = memory.rows(torch.zeros(len(live), dtype=torch.int64, device=outputs_TI.device))
        before_N = torch.tensor([caption.words[-1] if step else captioner.end for caption in live])
        logits_NV, weights_TN, state = captioner.step(rows, state, before_N.to(outputs_TI.device))
        log_probs_NV = torch.log_softmax(logits_NV, dim=1)
        totals_NV = log_probs_NV + log_probs_NV.new_tensor([c.log_prob for c in live])[:, None]
        if step == max_words:
            ends_N = totals_NV[:, captioner.end].tolist()
            done += [Caption(c.words, e, c.weights_ST) for c, e in zip(live, ends_N, strict=True)]
            break
        values, places = totals_NV.flatten().topk(min(width, totals_NV.numel()))
        parents, kept = [], []
        for total, place in zip(values.tolist(), places.tolist(), strict=True):
            row, word = divmod(place, totals_NV.shape[1])
            if word == captioner.end:
                done.append(Caption(live[row].words, total, live[row].weights_ST))
                continue
            weights_ST = torch.cat((live[row].weights_ST, weights_TN[None, :, row]))
            kept.append(Caption((*live[row].words, word), total, weights_ST))
            parents.append(row)
        if len(done) >= width or not kept:
            break
        live, state = kept, (state[0][parents], state[1][parents])
    return sorted(done, key=lambda caption: -caption.score)
