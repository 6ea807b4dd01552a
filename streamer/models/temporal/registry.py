"""Temporal models by backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.temporal.model import TemporalModel


def open_temporal_model(
    bundle: Bundle, *, rows: int = 8, backend: str = "onnx", num_threads: int = 1
) -> TemporalModel:
    """The model of a bundle, ready to step.

    Args:
        bundle: Whose.
        rows: Streams per call.
        backend: `onnx` (onnxruntime) or `torch`.
        num_threads: Of the onnxruntime session.

    Raises:
        ConfigError: Unknown backend.
        ModelError: Its package is missing, or the files don't fit.
    """
    # Imported here: a host has one backend, seldom both.
    try:
        if backend == "onnx":
            from streamer.models.temporal.onnx import OnnxTemporalModel

            return OnnxTemporalModel(bundle, rows=rows, num_threads=num_threads)
        if backend == "torch":
            from streamer.models.temporal.torch import TorchTemporalModel

            return TorchTemporalModel(bundle, rows=rows)
    except ImportError as error:
        extra = "cpu" if backend == "onnx" else "train"
        raise ModelError(
            f"temporal backend {backend}: {error}; install it: pip install 'streamer[{extra}]'"
        ) from error
    raise ConfigError(f"temporal backend: expected onnx or torch, found {backend!r}")
