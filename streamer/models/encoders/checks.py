"""What every backend promises, checked on the way in and on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.models.encoders.device import DeviceKind
from streamer.models.encoders.encoder import BatchPolicy

if TYPE_CHECKING:
    from streamer.core.preprocess import Preprocess

POLICIES = {
    # A core gains nothing from a batch, so nobody waits for one. What has queued up is still taken
    # together: per picture 4 cost what 1 does, 8 cost up to 7 % more (EfficientNet-Lite0, AVX2).
    DeviceKind.CPU: BatchPolicy(max_size=4, max_wait_seconds=0.0),
    DeviceKind.CUDA: BatchPolicy(max_size=64, max_wait_seconds=0.010),
}


def check_images(images_NHWC: np.ndarray, preprocess: Preprocess, *, name: str) -> None:
    """Raise ModelError unless the pictures are those `preprocess` makes."""
    shape, dtype = images_NHWC.shape, images_NHWC.dtype
    if dtype != np.uint8 or len(shape) != 4 or shape[1:] != preprocess.shape:
        height, width, _ = preprocess.shape
        raise ModelError(
            f"encoder {name}: expected pictures as uint8 (N, {height}, {width}, 3), "
            f"found {dtype} {shape}; let the source use the encoder's preprocess"
        )
    if shape[0] == 0:
        raise ModelError(f"encoder {name}: expected at least one picture, found none")


def to_float16(features_ND: np.ndarray, *, name: str) -> np.ndarray:
    """Features as float16 (N, D).

    Raises:
        ModelError: One is NaN, infinite, or beyond float16's range of ±65504.
    """
    # Overflow is what the check below is for.
    with np.errstate(over="ignore"):
        half = features_ND.astype(np.float16)
    if not np.isfinite(half).all():
        row = int(np.flatnonzero(~np.isfinite(half).all(axis=1))[0])
        bad = features_ND[row][~np.isfinite(half[row])][0]
        raise ModelError(
            f"encoder {name}: expected finite features within ±65504, found {bad} "
            f"in picture {row} of the batch; the weights are damaged or don't fit the input"
        )
    return half
