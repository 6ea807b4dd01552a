"""Temporal models run by onnxruntime, from `model.onnx`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from streamer.core.errors import ModelError
from streamer.models.temporal.model import check_step, check_window

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from streamer.models.bundle import Bundle
    from streamer.models.config import ModelConfig

INPUTS = ("features", "hidden", "cell")
OUTPUTS = ("logits", "hidden_after", "cell_after")
WINDOW_INPUTS = ("features", "window", "mask", "hidden", "cell")
"""Of a graph that looks ahead."""
WINDOW_OUTPUTS = (*OUTPUTS, "inputs")
# They share no base of their own.
_ERRORS = (
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NotImplemented,
    ort.RuntimeException,
)
_LOG_FATAL = 4


class _OnnxModel:
    """What models of both kinds share.

    Args:
        bundle: Whose graph.
        rows: B.
        num_threads: Of one step. A step of a small model is shorter than waking a second one.

    Raises:
        ModelError: The graph can't be run here, or does not fit the configuration.
    """

    def __init__(self, bundle: Bundle, *, rows: int, num_threads: int = 1) -> None:
        config = bundle.config
        self.rows = rows
        self.num_layers, self.hidden_dim = config.num_layers, config.hidden_dim
        self.feature_dim, self.num_classes = config.feature_dim, config.num_classes
        path = bundle.path / "model.onnx"
        self._session: Any = open_session(path, num_threads=num_threads)
        _check_graph(self._session, _ports(config), where=str(path))

    def _check_open(self) -> None:
        if self._session is None:
            raise ModelError("temporal model: closed; open it again")

    def close(self) -> None:
        """Free the session's memory. Idempotent."""
        self._session = None


class OnnxTemporalModel(_OnnxModel):
    """Satisfies `TemporalModel`, on the CPU. Arguments and errors: see `_OnnxModel`."""

    def step(
        self, features_BD: np.ndarray, hidden_LBH: np.ndarray, cell_LBH: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One frame of each row. See `TemporalModel.step`."""
        self._check_open()
        check_step(self, features_BD, hidden_LBH, cell_LBH)
        inputs = dict(zip(INPUTS, (features_BD, hidden_LBH, cell_LBH), strict=True))
        logits_BC, hidden, cell = run_session(self._session, OUTPUTS, inputs)
        return logits_BC, hidden, cell


class OnnxLookaheadModel(_OnnxModel):
    """Satisfies `LookaheadModel`, on the CPU. Arguments and errors: see `_OnnxModel`."""

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
        self._check_open()
        arrays = (features_BD, window_RBP, mask_SB, hidden_LBH, cell_LBH)
        check_window(self, *arrays)
        inputs = dict(zip(WINDOW_INPUTS, arrays, strict=True))
        logits_BC, hidden, cell, inputs_BP = run_session(self._session, WINDOW_OUTPUTS, inputs)
        return logits_BC, hidden, cell, inputs_BP


def _ports(config: ModelConfig) -> dict[str, tuple[int | None, ...]]:
    """The inputs and outputs of a graph by their shapes. None: any size."""
    state = (config.num_layers, None, config.hidden_dim)
    shapes = ((None, config.feature_dim), state, state, (None, config.num_outputs), state, state)
    ports: dict[str, tuple[int | None, ...]] = dict(zip((*INPUTS, *OUTPUTS), shapes, strict=True))
    if config.lookahead_frames:
        ports["window"] = (config.lookahead_frames, None, config.projection_dim)
        ports["mask"] = (config.lookahead_frames + 1, None)
        ports["inputs"] = (None, config.projection_dim)
    return ports


def open_session(path: Path, *, num_threads: int) -> Any:
    """A graph, ready to run on the CPU.

    Raises:
        ModelError: The file can't be read or run here.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every error is raised as well; once is enough.
    options.log_severity_level = _LOG_FATAL
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except (OSError, *_ERRORS) as error:
        raise ModelError(f"{path}: not an ONNX file that runs here ({error})") from error


def run_session(
    session: Any, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]
) -> list[np.ndarray]:
    """Outputs of a graph.

    Raises:
        ModelError: onnxruntime failed.
    """
    try:
        return list(session.run(outputs, inputs))
    except _ERRORS as error:
        raise ModelError(f"temporal model: onnxruntime failed: {error}") from error


def _check_graph(session: Any, expected: dict[str, tuple[int | None, ...]], *, where: str) -> None:
    """Compare inputs and outputs with what the configuration says."""
    ports = {port.name: port.shape for port in (*session.get_inputs(), *session.get_outputs())}
    if ports.keys() != expected.keys():
        raise ModelError(
            f"{where}: expected inputs and outputs {', '.join(expected)}, "
            f"found {', '.join(ports)}; export it again"
        )
    for name, shape in expected.items():
        found = ports[name]
        fits = len(found) == len(shape) and all(
            want is None or want == have for want, have in zip(shape, found, strict=True)
        )
        if not fits:
            wanted = ["any" if size is None else size for size in shape]
            raise ModelError(f"{where}: {name}: config.json says {wanted}, the graph has {found}")
