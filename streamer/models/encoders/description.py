"""`encoder.json`: what a `.onnx` file can't say about itself, in a file beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.errors import ModelError
from streamer.core.preprocess import Preprocess

if TYPE_CHECKING:
    from pathlib import Path

FILE_NAME = "encoder.json"


class Normalisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bytes → what a float network was trained on: (rgb * scale - mean) / std.

    Attributes:
        scale: For example 1/255 = 0.00392156862745098.
        mean: Per channel R, G, B, after scaling.
        std: Per channel R, G, B, after scaling.
    """

    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        if min(self.std) <= 0:
            raise ValueError(f"std: expected three positive numbers, found {self.std}")

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        """(gain, offset), float32 (3,) each: normalised = rgb * gain + offset."""
        std = np.array(self.std)
        gain, offset = self.scale / std, -np.array(self.mean) / std
        return gain.astype(np.float32), offset.astype(np.float32)


class EncoderDescription(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `encoder.json`.

    Attributes:
        sha256: Of the `.onnx` file, checked when it is opened; None: not checked.
        preprocess: What the pictures must have gone through; None: stretched to the graph's size.
        normalise: For graphs that take float32 (N, 3, H, W); None for those that take bytes.
    """

    sha256: str | None = None
    preprocess: Preprocess | None = None
    normalise: Normalisation | None = None


def read_description(model_path: Path) -> EncoderDescription:
    """The description beside a model file; an empty one where there is none.

    Raises:
        ModelError: `encoder.json` is there but not readable.
    """
    path = model_path.with_name(FILE_NAME)
    if not path.exists():
        return EncoderDescription()
    try:
        return msgspec.json.decode(path.read_bytes(), type=EncoderDescription)
    except (OSError, msgspec.MsgspecError) as error:
        raise ModelError(
            f"{path}: not a description of an encoder ({error}); correct it"
        ) from error
