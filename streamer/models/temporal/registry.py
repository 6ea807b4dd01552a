"""From a bundle to its temporal model, ready to step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.temporal.model import TemporalModel

BACKENDS = ("onnx", "torch")
_INSTEAD = {
    "sequence": "train it with head=frames to say of each frame what it shows",
    "regression": "train it with pooling=none for values of each frame",
    "caption": "caption recorded clips with streamer.training.clip_predict, or train head=frames",
}
"""What to do with a head that reads whole clips."""


def open_temporal_model(
    bundle: Bundle, *, rows: int = 8, backend: str = "onnx", num_threads: int = 1
) -> TemporalModel:
    """Open the model of a bundle. Its library is imported only now.

    Args:
        bundle: Loaded and checked.
        rows: B: streams per call. Results depend on it in the last bits, so keep it. A quantised
            model has one, whatever is asked for.
        backend: `onnx` or `torch`.
        num_threads: Threads of one call.

    Raises:
        ConfigError: Another backend, or no rows.
        ModelError: The model needs frames to come, or its head says nothing of a stream that goes
            on; the library is missing, or the files do not fit each other.
    """
    config = bundle.config
    if config.reads_whole_clips:
        raise ModelError(
            f"bundle {config.name}: its head {config.head} with pooling {config.pooling} says one "
            f"thing of a whole clip, and a camera's stream has no end; {_INSTEAD[config.head]}"
        )
    if backend not in BACKENDS:
        raise ConfigError(f"backend: expected one of {', '.join(BACKENDS)}, found {backend!r}")
    if rows < 1 or num_threads < 1:
        raise ConfigError(f"expected rows and num_threads >= 1, found {rows} and {num_threads}")
    _check_online(bundle)
    if bundle.config.precision != "float32":
        rows = 1
        if backend != "onnx":
            raise ModelError(
                f"bundle {bundle.config.name}: its {bundle.config.precision} weights are served "
                f"by backend onnx, found backend {backend}; set temporal.backend=onnx"
            )
    if backend == "onnx":
        try:
            from streamer.models.temporal.onnx import OnnxTemporalModel
        except ImportError as error:
            raise _missing("onnxruntime", extra="cpu", error=error) from error
        return OnnxTemporalModel(bundle, rows=rows, num_threads=num_threads)
    try:
        from streamer.models.temporal.torch import TorchTemporalModel
    except ImportError as error:
        raise _missing("torch", extra="gpu", error=error) from error
    return TorchTemporalModel(bundle, rows=rows, num_threads=num_threads)


def _check_online(bundle: Bundle) -> None:
    """A step has one frame, and its outputs are for that frame."""
    config = bundle.config
    if config.directions == 2:
        seen = f"{config.lookahead_frames} frames" if config.lookahead_frames else "all frames"
        raise ModelError(
            f"bundle {config.name}: expected a model of one direction, found one that looks ahead "
            f"at {seen}: it can be trained and evaluated on recordings, but not serve live video; "
            f"train one with directions=1"
        )


def _missing(package: str, *, extra: str, error: ImportError) -> ModelError:
    return ModelError(
        f"temporal model: needs {package}, which can't be imported ({error}); "
        f"pip install 'streamer[{extra}]'"
    )
