"""Serving with onnxruntime: the default, and all a CPU host needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnxruntime

from streamer.core.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

    from streamer.models.bundle import Bundle

_INPUTS = ("features", "hidden", "cell")
_OUTPUTS = ("logits", "hidden_out", "cell_out")


class OnnxTemporalModel:
    """`model.onnx` of a bundle; see `TemporalModel`.

    Raises:
        ModelError: The graph is not that of the bundle's config.
    """

    def __init__(self, bundle: Bundle, *, rows: int, num_threads: int) -> None:
        config = bundle.config
        self.rows = rows
        self.num_layers = config.num_layers
        self.hidden_dim = config.hidden_dim
        self.feature_dim = config.feature_dim
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        # A spinning pool would burn a core between two frames.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = bundle.path / "model.onnx"
        try:
            self._session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises bare types of its own
            raise ModelError(f"{path}: onnxruntime can't load it ({error})") from error
        _check(self._session, bundle)

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Fold in one frame per row."""
        logits, hidden, cell = self._session.run(
            _OUTPUTS, {"features": features_BD, "hidden": hidden_LBH, "cell": cell_LBH}
        )
        return logits, hidden, cell

    def close(self) -> None:
        """Nothing to free before the process ends."""


def _check(session: onnxruntime.InferenceSession, bundle: Bundle) -> None:
    config = bundle.config
    layers, width = config.num_layers, config.hidden_dim
    expected = {
        "features": (None, config.feature_dim),
        "hidden": (layers, None, width),
        "cell": (layers, None, width),
        "logits": (None, config.num_classes),
        "hidden_out": (layers, None, width),
        "cell_out": (layers, None, width),
    }
    found = {
        node.name: tuple(size if isinstance(size, int) else None for size in node.shape)
        for node in (*session.get_inputs(), *session.get_outputs())
    }
    if found != expected:
        raise ModelError(
            f"bundle {bundle.path}: model.onnx: expected inputs and outputs {expected} as "
            f"config.json says, found {found}; export the bundle again"
        )
