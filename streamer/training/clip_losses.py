"""What each head beyond classes per frame is trained for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from streamer.core.errors import ConfigError
from streamer.models.temporal.network import read_clips

if TYPE_CHECKING:
    from torch import Tensor

    from streamer.models.temporal.heads.captioner import Captioner
    from streamer.models.temporal.heads.regression import RegressionHead
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.clips import ClipBatch

_PAD = -100


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipObjective:
    """What the loss is.

    Attributes:
        regression: Huber's loss (1964) with its bend at one spread of the targets, or the square.
        own_words: Of captions, see `Captioner.forward`.
        label_smoothing: Of a clip's class and of words.
    """

    regression: Literal["huber", "mse"] = "huber"
    own_words: float = 0.0
    label_smoothing: float = 0.0

    def __call__(self, model: RecurrentNetwork, batch: ClipBatch) -> Tensor:
        """The loss of a batch.

        In nats per clip (a class), label (CTC) or word (a caption); of a regression, in spreads of
        the targets.

        Raises:
            ConfigError: The model has the head `frames`, which `streamer.training.fit` trains.
        """
        head = model.config.head
        if head == "sequence":
            logits_BC, _ = read_clips(model, batch.features_TBD, batch.mask_TB)
            classes_B = torch.stack(batch.targets)
            return functional.cross_entropy(
                logits_BC, classes_B, label_smoothing=self._smoothing(model)
            )
        if head == "regression":
            return self._regression(model, batch)
        state = model.initial_state(batch.mask_TB.shape[1])
        outputs_TBI, _ = model.hiddens(batch.features_TBD, state, mask_TB=batch.mask_TB)
        if head == "ctc":
            assert model.head is not None, "a CTC has phases"
            return ctc_loss(model.head(outputs_TBI), batch)
        if head == "caption":
            return self._caption(cast("Captioner", model.head), outputs_TBI, batch)
        raise ConfigError("clips: expected a head beyond frames; train frames with fit")

    def _smoothing(self, model: RecurrentNetwork) -> float:
        """Only while training: a check compares with the labels themselves."""
        return self.label_smoothing if model.training else 0.0

    def _regression(self, model: RecurrentNetwork, batch: ClipBatch) -> Tensor:
        head = cast("RegressionHead", model.head)
        if head.pooling is not None:
            values, _ = read_clips(model, batch.features_TBD, batch.mask_TB)
            targets = torch.stack(batch.targets)
        else:
            state = model.initial_state(batch.mask_TB.shape[1])
            outputs_TBI, _ = model.hiddens(batch.features_TBD, state, mask_TB=batch.mask_TB)
            there_TB = batch.mask_TB > 0
            values, targets = head(outputs_TBI)[there_TB], pad_sequence(batch.targets)[there_TB]
        known = ~torch.isnan(targets)
        errors = ((values - targets) / head.spread_K)[known]
        loss = functional.huber_loss if self.regression == "huber" else functional.mse_loss
        return loss(errors, torch.zeros_like(errors))

    def _caption(self, captioner: Captioner, outputs_TBI: Tensor, batch: ClipBatch) -> Tensor:
        ended = [functional.pad(words, (0, 1), value=captioner.end) for words in batch.targets]
        words_SB = pad_sequence(ended, padding_value=captioner.end)
        wanted_SB = pad_sequence(ended, padding_value=_PAD)
        own_words = self.own_words if captioner.training else 0.0
        logits_SBV, _ = captioner(outputs_TBI, batch.mask_TB, words_SB, own_words=own_words)
        return functional.cross_entropy(
            logits_SBV.flatten(0, 1),
            wanted_SB.flatten(),
            ignore_index=_PAD,
            label_smoothing=self.label_smoothing if captioner.training else 0.0,
        )


def ctc_loss(logits_TBC: Tensor, batch: ClipBatch) -> Tensor:
    """Negative log probability of the phases' order over all alignments, in nats per phase.

    Graves et al., "Connectionist Temporal Classification" (ICML 2006).
    """
    lengths_B = batch.mask_TB.sum(dim=0).long()
    num_labels_B = torch.tensor([len(labels) for labels in batch.targets])
    losses_B = functional.ctc_loss(
        torch.log_softmax(logits_TBC.float(), dim=-1),
        torch.cat(batch.targets),
        lengths_B,
        num_labels_B.to(lengths_B.device),
        blank=logits_TBC.shape[-1] - 1,
        reduction="sum",
    )
    return losses_B / num_labels_B.sum().clamp_min(1)
