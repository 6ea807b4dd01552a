"""From a bundle to its temporal model, ready to step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError
from streamer.core.extras import how_to_install
from streamer.models.temporal.model import LookaheadModel

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle
    from streamer.models.config import ModelConfig
    from streamer.models.temporal.model import OnlineModel, TemporalModel

BACKENDS = ("onnx", "torch")
_INSTEAD = {
    "sequence": "ask streamer predict about recordings, or train it with head=frames",
    "regression": "ask streamer predict about recordings, or train it with pooling=none",
    "caption": "caption recordings with streamer predict, or train head=frames",
}
"""What to do with a head that reads whole clips."""


def open_online_model(
    bundle: Bundle, *, rows: int = 8, backend: str = "onnx", num_threads: int = 1
) -> OnlineModel:
    """Open the model of a bundle to serve it. Its library is imported only now.

    Args:
        bundle: Loaded and checked.
        rows: B: streams per call. Results depend on it in the last bits, so keep it. A quantised
            model has one, whatever is asked for.
        backend: `onnx` or `torch`.
        num_threads: Threads of one call.

    Raises:
        ConfigError: Another backend, or no rows.
        ModelError: The model needs all frames to come, or its head says nothing of a stream that
            goes on; the library is missing, or the files do not fit each other.
    """
    config = bundle.config
    if backend not in BACKENDS:
        raise ConfigError(f"backend: expected one of {', '.join(BACKENDS)}, found {backend!r}")
    if rows < 1 or num_threads < 1:
        raise ConfigError(f"expected rows and num_threads >= 1, found {rows} and {num_threads}")
    _check_online(config)
    if config.precision != "float32":
        rows = 1
        if backend != "onnx":
            raise ModelError(
                f"bundle {config.name}: its {config.precision} weights are served "
                f"by backend onnx, found backend {backend}; set temporal.backend=onnx"
            )
    if backend == "onnx":
        try:
            from streamer.models.temporal.onnx import OnnxLookaheadModel, OnnxTemporalModel
        except ImportError as error:
            raise _missing("onnxruntime", extra="cpu", error=error) from error
        if config.lookahead_frames:
            return OnnxLookaheadModel(bundle, rows=rows, num_threads=num_threads)
        return OnnxTemporalModel(bundle, rows=rows, num_threads=num_threads)
    try:
        from streamer.models.temporal.torch import TorchLookaheadModel, TorchTemporalModel
    except ImportError as error:
        raise _missing("torch", extra="gpu", error=error) from error
    if config.lookahead_frames:
        return TorchLookaheadModel(bundle, rows=rows, num_threads=num_threads)
    return TorchTemporalModel(bundle, rows=rows, num_threads=num_threads)


def open_temporal_model(
    bundle: Bundle, *, rows: int = 8, backend: str = "onnx", num_threads: int = 1
) -> TemporalModel:
    """As `open_online_model`, of a bundle whose model has one direction.

    Raises:
        ConfigError: As there.
        ModelError: As there; or the model looks ahead.
    """
    model = open_online_model(bundle, rows=rows, backend=backend, num_threads=num_threads)
    if isinstance(model, LookaheadModel):
        model.close()
        raise ModelError(
            f"bundle {bundle.config.name}: expected a model of one direction, found one that looks "
            f"ahead at {model.lookahead_frames} frames; take a bundle trained with --directions 1"
        )
    return model


def _check_online(config: ModelConfig) -> None:
    """The outputs for a frame must be known a bounded time after it."""
    if config.reads_whole_clips:
        raise ModelError(
            f"bundle {config.name}: its head {config.head} with pooling {config.pooling} says one "
            f"thing of a whole clip, and a camera's stream has no end; {_INSTEAD[config.head]}"
        )
    if config.directions == 2 and not config.lookahead_frames:
        raise ModelError(
            f"bundle {config.name}: expected a model of one direction or with a bounded look "
            "ahead, found one of two directions that sees all frames to come, and a camera's "
            "stream has no end; train it with --directions 2 --lookahead R, and its outputs come R "
            "frames late, or with --directions 1"
        )


def _missing(package: str, *, extra: str, error: ImportError) -> ModelError:
    return ModelError(
        f"temporal model: needs {package}, which can't be imported ({error}); "
        f"{how_to_install(extra)}"
    )
