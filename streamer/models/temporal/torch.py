"""Temporal models run by torch, from `model.safetensors`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from streamer.core.errors import ModelError
from streamer.models.temporal.heads.beam import beam_search
from streamer.models.temporal.heads.captioner import Captioner, TorchSpeaker
from streamer.models.temporal.model import check_step, check_window
from streamer.models.temporal.network import RecurrentNetwork, read_clips

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle


class _TorchModel:
    """What models of both kinds share.

    Args:
        bundle: Whose weights.
        rows: B.
        num_threads: torch has one setting for the whole process: this sets it.

    Raises:
        ModelError: The weights do not fit the configuration.
    """

    def __init__(self, bundle: Bundle, *, rows: int, num_threads: int = 1) -> None:
        torch.set_num_threads(num_threads)
        config = bundle.config
        self.rows = rows
        self.num_layers, self.hidden_dim = config.num_layers, config.hidden_dim
        self.feature_dim, self.num_classes = config.feature_dim, config.num_classes
        self._loaded: RecurrentNetwork | None = load_network(bundle)

    @property
    def _network(self) -> RecurrentNetwork:
        if self._loaded is None:
            raise ModelError("temporal model: closed; open it again")
        return self._loaded

    def close(self) -> None:
        """Free its memory. Idempotent."""
        self._loaded = None


class TorchTemporalModel(_TorchModel):
    """Satisfies `TemporalModel`, on the CPU. Arguments and errors: see `_TorchModel`."""

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame of each row. See `TemporalModel.step`."""
        network = self._network
        check_step(self, features_BD, hidden_LBH, cell_LBH)
        with torch.inference_mode():
            logits_TBC, (hidden, cell) = network(
                torch.from_numpy(features_BD)[None],
                (torch.from_numpy(hidden_LBH), torch.from_numpy(cell_LBH)),
            )
        return logits_TBC[0].numpy(), hidden.numpy(), cell.numpy()


class TorchLookaheadModel(_TorchModel):
    """Satisfies `LookaheadModel`, on the CPU. Arguments and errors: see `_TorchModel`."""

    def __init__(self, bundle: Bundle, *, rows: int, num_threads: int = 1) -> None:
        super().__init__(bundle, rows=rows, num_threads=num_threads)
        config = bundle.config
        self.lookahead_frames, self.projection_dim = config.lookahead_frames, config.projection_dim

    def step_window(
        self,
        features_BD: np.ndarray,
        window_RBP: np.ndarray,
        mask_SB: np.ndarray,
        hidden_LBH: np.ndarray,
        cell_LBH: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One frame of each row. See `LookaheadModel.step_window`."""
        network = self._network
        check_window(self, features_BD, window_RBP, mask_SB, hidden_LBH, cell_LBH)
        with torch.inference_mode():
            logits_BC, (hidden, cell), inputs_BP = network.look(
                torch.from_numpy(features_BD),
                torch.from_numpy(window_RBP),
                torch.from_numpy(mask_SB),
                (torch.from_numpy(hidden_LBH), torch.from_numpy(cell_LBH)),
            )
        return logits_BC.numpy(), hidden.numpy(), cell.numpy(), inputs_BP.numpy()


def read_whole_clip(bundle: Bundle, features_TD: np.ndarray) -> np.ndarray:
    """What a head that reads whole clips says of one, as its graphs do.

    Args:
        bundle: Of such a head.
        features_TD: float32.

    Returns:
        Logits or values float32 (C,); of captions the log probability of the best one, (1,).

    Raises:
        ModelError: The weights do not fit the configuration.
    """
    network = load_network(bundle)
    features_T1D = torch.from_numpy(features_TD)[:, None]
    with torch.inference_mode():
        if isinstance(network.head, Captioner):
            outputs_T1I, _ = network.hiddens(features_T1D, network.initial_state(1))
            best = beam_search(TorchSpeaker(network.head, outputs_T1I[:, 0]))[0]
            return np.array([best.log_prob], np.float32)
        outputs_1C, _ = read_clips(network, features_T1D, torch.ones(features_T1D.shape[:2]))
    return outputs_1C[0].numpy()


def load_network(bundle: Bundle) -> RecurrentNetwork:
    """The trained network of a bundle, ready to serve.

    Raises:
        ModelError: The weights do not fit the configuration.
    """
    path = bundle.path / "model.safetensors"
    model = RecurrentNetwork(bundle.config)
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{path}: the weights do not fit config.json ({reason})") from error
    return model.eval()
