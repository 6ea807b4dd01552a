"""Serving with torch: the module that was trained, with the same weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from streamer.core.errors import ModelError
from streamer.models.temporal.lstm import OneStep, TemporalLstm

if TYPE_CHECKING:
    import numpy as np

    from streamer.models.bundle import Bundle


class TorchTemporalModel:
    """`model.safetensors` of a bundle; see `TemporalModel`.

    Raises:
        ModelError: The weights are not those of the bundle's config.
    """

    def __init__(self, bundle: Bundle, *, rows: int) -> None:
        config = bundle.config
        self.rows = rows
        self.num_layers = config.num_layers
        self.hidden_dim = config.hidden_dim
        self.feature_dim = config.feature_dim
        network = TemporalLstm.of(config)
        try:
            network.load_state_dict(load_file(bundle.path / "model.safetensors"))
        except RuntimeError as error:
            raise ModelError(
                f"bundle {bundle.path}: model.safetensors does not fit config.json "
                f"({str(error).splitlines()[0]}); export the bundle again"
            ) from error
        self._step = OneStep(network.eval())

    @torch.inference_mode()
    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fold in one frame per row."""
        logits, hidden, cell = self._step(
            torch.from_numpy(features_BD), torch.from_numpy(hidden_LBH), torch.from_numpy(cell_LBH)
        )
        return logits.numpy(), hidden.numpy(), cell.numpy()

    def close(self) -> None:
        """Nothing to free before the process ends."""
