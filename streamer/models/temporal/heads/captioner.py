"""Sequence to sequence: a decoder LSTM that looks back at all frames and says words.

Additive attention as in Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning
to Align and Translate" (ICLR 2015), appendix A.1.2: e = v · tanh(W s + U h), weights = softmax over
the clip's frames, context = Σ weights · h; s is the decoder's hidden before the word. The decoder
is an LSTM in place of their gated unit, and starts from tanh of a linear layer over the mean of
the frames' outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import numpy as np

    from streamer.models.temporal.heads.beam import SpeakerState


@dataclass(frozen=True, slots=True)
class Memory:
    """What the decoder looks back at.

    Attributes:
        outputs_TBI: The frames' outputs.
        keys_TBH: U h of each.
        mask_TB: float32, 1 for a clip's frames and then 0.
    """

    outputs_TBI: Tensor
    keys_TBH: Tensor
    mask_TB: Tensor

    def rows(self, index_N: Tensor) -> Memory:
        """Of the clips with these numbers, in this order."""
        return Memory(
            self.outputs_TBI[:, index_N], self.keys_TBH[:, index_N], self.mask_TB[:, index_N]
        )


State = tuple[Tensor, Tensor]
"""Hidden and cell of the decoder, (B, H) each."""


class Captioner(nn.Module):
    """Words of a caption, one after another.

    Args:
        input_dim: I, width of a frame's outputs.
        hidden_dim: H of the decoder.
        num_words: V. After them comes one more symbol, which stands before and after a caption.
    """

    def __init__(self, input_dim: int, hidden_dim: int, num_words: int) -> None:
        super().__init__()
        self.end = num_words
        self.embedding = nn.Embedding(num_words + 1, hidden_dim)
        self.begin = nn.Linear(input_dim, hidden_dim)
        self.key = nn.Linear(input_dim, hidden_dim)
        self.query = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.score = nn.Linear(hidden_dim, 1, bias=False)
        self.cell = nn.LSTMCell(hidden_dim + input_dim, hidden_dim)
        self.linear = nn.Linear(hidden_dim + input_dim, num_words + 1)

    def remember(self, outputs_TBI: Tensor, mask_TB: Tensor) -> tuple[Memory, State]:
        """Make ready to caption B clips: what to look back at, and the decoder's first state."""
        memory = Memory(outputs_TBI, self.key(outputs_TBI), mask_TB)
        mean_BI = (outputs_TBI * mask_TB[..., None]).sum(dim=0) / mask_TB.sum(dim=0)[:, None]
        hidden_BH = torch.tanh(self.begin(mean_BI))
        return memory, (hidden_BH, torch.zeros_like(hidden_BH))

    def step(self, memory: Memory, state: State, words_B: Tensor) -> tuple[Tensor, Tensor, State]:
        """The next word of each caption.

        Args:
            memory: Of B clips.
            state: After the words before.
            words_B: int64, the word before; `end` for none.

        Returns:
            logits (B, V + 1), weights over time (T, B), and the state after it.
        """
        looked_TBH = torch.tanh(self.query(state[0]) + memory.keys_TBH)
        scores_TB = self.score(looked_TBH)[..., 0].masked_fill(memory.mask_TB == 0, -torch.inf)
        weights_TB = torch.softmax(scores_TB, dim=0)
        context_BI = (weights_TB[..., None] * memory.outputs_TBI).sum(dim=0)
        inputs = torch.cat((self.embedding(words_B), context_BI), dim=1)
        hidden_BH, cell_BH = self.cell(inputs, state)
        logits_BV = self.linear(torch.cat((hidden_BH, context_BI), dim=1))
        return logits_BV, weights_TB, (hidden_BH, cell_BH)

    def forward(
        self, outputs_TBI: Tensor, mask_TB: Tensor, words_SB: Tensor, *, own_words: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Teacher forcing: each word is said after the true ones before it.

        Args:
            outputs_TBI: The frames' outputs.
            mask_TB: float32, 1 for a clip's frames and then 0.
            words_SB: int64, the true captions, `end` after each.
            own_words: Probability with which the word before is the decoder's own instead:
                scheduled sampling (Bengio et al., NeurIPS 2015).

        Returns:
            logits (S, B, V + 1), and the weights (S, T, B).
        """
        memory, state = self.remember(outputs_TBI, mask_TB)
        before_B = torch.full_like(words_SB[0], self.end)
        logits, weights = [], []
        for words_B in words_SB:
            logits_BV, weights_TB, state = self.step(memory, state, before_B)
            logits.append(logits_BV)
            weights.append(weights_TB)
            before_B = words_B
            if own_words:
                own_B = torch.rand(words_B.shape, device=words_B.device) < own_words
                before_B = torch.where(own_B, logits_BV.detach().argmax(dim=1), words_B)
        return torch.stack(logits), torch.stack(weights)


class TorchSpeaker:
    """A captioner with one clip before it. Satisfies `Speaker`.

    Args:
        captioner: In evaluation mode.
        outputs_TI: Of the recurrent layers.
    """

    def __init__(self, captioner: Captioner, outputs_TI: Tensor) -> None:
        self.end, self.num_frames = captioner.end, len(outputs_TI)
        self._captioner, self._outputs_TI = captioner, outputs_TI
        with torch.inference_mode():
            mask_T1 = torch.ones_like(outputs_TI[:, :1])
            self._memory, self._state = captioner.remember(outputs_TI[:, None], mask_T1)

    def start(self) -> SpeakerState:
        """See `Speaker.start`."""
        hidden_1H, cell_1H = self._state
        return hidden_1H.cpu().numpy(), cell_1H.cpu().numpy()

    @torch.inference_mode()
    def step(
        self, state: SpeakerState, words_N: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, SpeakerState]:
        """See `Speaker.step`."""
        device = self._outputs_TI.device
        hidden_NH, cell_NH = (torch.from_numpy(part).to(device) for part in state)
        rows = self._memory.rows(torch.zeros(len(words_N), dtype=torch.int64, device=device))
        words = torch.from_numpy(words_N).to(device)
        logits_NV, weights_TN, after = self._captioner.step(rows, (hidden_NH, cell_NH), words)
        return (
            logits_NV.cpu().numpy(),
            weights_TN.cpu().numpy(),
            (after[0].cpu().numpy(), after[1].cpu().numpy()),
        )
