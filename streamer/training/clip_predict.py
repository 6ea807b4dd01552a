"""What trained heads say of clips."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import torch

from streamer.models.temporal.heads.beam import beam_search
from streamer.models.temporal.heads.captioner import TorchSpeaker
from streamer.models.temporal.network import read_clips
from streamer.training.clips import make_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamer.models.temporal.heads.beam import Caption
    from streamer.models.temporal.heads.captioner import Captioner
    from streamer.models.temporal.network import RecurrentNetwork
    from streamer.training.clips import ClipExample


@torch.inference_mode()
def predict_clips(
    model: RecurrentNetwork, examples: Sequence[ClipExample]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Of a head with pooling.

    Returns:
        float32 (N, C): probabilities of the classes, or values, the mean over a clip's views; and
        for each clip the weights over time, float32 (T,), the mean too.
    """
    model.eval()
    outputs, weights = [], []
    for example in examples:
        batch = make_batch(example.views, [example.target] * len(example.views))
        rows_VC, weights_TV = read_clips(model, batch.features_TBD, batch.mask_TB)
        if model.config.head == "sequence":
            rows_VC = torch.softmax(rows_VC, dim=1)
        outputs.append(rows_VC.mean(dim=0).numpy())
        weights.append(weights_TV.mean(dim=1).numpy())
    return np.stack(outputs), weights


@torch.inference_mode()
def predict_frames(model: RecurrentNetwork, examples: Sequence[ClipExample]) -> list[np.ndarray]:
    """Of a head per frame, float32 (T, C): values, or a CTC's log probabilities; the first view."""
    model.eval()
    outputs = []
    for example in examples:
        features = torch.from_numpy(example.views[0].astype(np.float32))[:, None]
        rows_T1C, _ = model(features, model.initial_state(1))
        if model.config.head == "ctc":
            rows_T1C = torch.log_softmax(rows_T1C, dim=-1)
        outputs.append(rows_T1C[:, 0].numpy())
    return outputs


@torch.inference_mode()
def predict_captions(
    model: RecurrentNetwork, examples: Sequence[ClipExample], *, width: int = 4
) -> list[Caption]:
    """The best caption of each clip by beam search, in its first view."""
    model.eval()
    captions = []
    for example in examples:
        features = torch.from_numpy(example.views[0].astype(np.float32))[:, None]
        outputs_T1I, _ = model.hiddens(features, model.initial_state(1))
        head = cast("Captioner", model.head)
        captions.append(beam_search(TorchSpeaker(head, outputs_T1I[:, 0]), width=width)[0])
    return captions
