"""From an encoder's name to the encoder."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError, ModelError
from streamer.core.extras import how_to_install
from streamer.models.encoders.reference import PREFIX, parse_reference

if TYPE_CHECKING:
    from streamer.core.preprocess import Preprocess
    from streamer.models.encoders.encoder import Encoder

DEFAULT_NAME = "efficientnet_lite0"
_SHIPPED = {DEFAULT_NAME: Path(__file__).parent / DEFAULT_NAME / "model.onnx"}
# Enough to recognise a misspelled name without loading torch.
_POPULAR = ("resnet18", "resnet50", "vgg16", "inception_v3", "mobilenet_v3_large", "vit_b_16")


def open_encoder(
    name: str,
    *,
    preprocess: Preprocess | None = None,
    device: str | None = None,
    num_threads: int = 1,
) -> Encoder:
    """Open an encoder. Its library is imported only now.

    Args:
        name: `efficientnet_lite0`, a path to a `.onnx` file, or `torchvision:NAME`, with
            `?weights=FILE` or `?weights=random&seed=N`.
        preprocess: What the pictures go through; None: the encoder's own default.
        device: `cpu`, `cuda` or `cuda:N`; None: the CPU for ONNX, a GPU where there is one for
            torch.
        num_threads: Threads of one call on a CPU.

    Raises:
        ConfigError: The name or the device is none of those.
        ModelError: A file or a package is missing or damaged, or does not fit `preprocess`.
    """
    if name in _SHIPPED:
        return _open_onnx(_SHIPPED[name], preprocess, name, device, num_threads)
    if name.startswith(PREFIX):
        return _open_torchvision(name, preprocess, device, num_threads)
    if name.endswith(".onnx"):
        return _open_onnx(Path(name).expanduser(), preprocess, name, device, num_threads)
    names = [*_SHIPPED, *(PREFIX + known for known in _POPULAR)]
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(
        PREFIX + name, names, n=1
    )
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"encoder: expected {DEFAULT_NAME}, a path to a .onnx file or {PREFIX}NAME, "
        f"found {name!r}{hint}"
    )


def _open_onnx(
    path: Path, preprocess: Preprocess | None, name: str, device: str | None, num_threads: int
) -> Encoder:
    try:
        from streamer.models.encoders.onnx import OnnxEncoder
    except ImportError as error:
        raise _missing(name, "onnxruntime", extra="cpu", error=error) from error
    return OnnxEncoder(path, preprocess, name=name, num_threads=num_threads, device=device or "cpu")


def _open_torchvision(
    name: str, preprocess: Preprocess | None, device: str | None, num_threads: int
) -> Encoder:
    reference = parse_reference(name)
    try:
        from streamer.models.encoders.torch import TorchEncoder
    # A torchvision of another torch fails on import with a RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise _missing(name, "torch and torchvision", extra="gpu", error=error) from error
    return TorchEncoder(reference, preprocess, name=name, device=device, num_threads=num_threads)


def _missing(name: str, packages: str, *, extra: str, error: Exception) -> ModelError:
    return ModelError(
        f"encoder {name}: needs {packages}, which can't be imported ({error}); "
        f"{how_to_install(extra)}"
    )
