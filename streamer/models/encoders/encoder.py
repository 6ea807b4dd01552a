"""The contract of an encoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from streamer.core.preprocess import Preprocess


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """How many frames a backend likes at once, and how long it is worth waiting for them.

    Attributes:
        max_size: Most frames in one call.
        max_wait_seconds: Longest time the first frame of a batch waits for others. 0 takes what
            is there: right where a batch saves nothing (a CPU core), wrong on a GPU.
    """

    max_size: int
    max_wait_seconds: float

    def __post_init__(self) -> None:
        if self.max_size < 1 or self.max_wait_seconds < 0:
            raise ValueError(f"expected max_size >= 1 and max_wait_seconds >= 0, found {self}")


class Encoder(Protocol):
    """Turns pictures into feature vectors. Used by one thread.

    A frame's features do not depend on its batchmates beyond floating-point rounding.
    """

    @property
    def name(self) -> str:
        """What the user called it, for example `efficientnet_lite0` or `torchvision:resnet50`."""
        ...

    @property
    def backend(self) -> str:
        """`onnx` or `torch`."""
        ...

    @property
    def device(self) -> str:
        """`cpu`, `cuda:0` and so on."""
        ...

    @property
    def encoder_id(self) -> str:
        """Digest of the weights, the graph and the preprocessing."""
        ...

    @property
    def feature_dim(self) -> int:
        """D."""
        ...

    @property
    def preprocess(self) -> Preprocess:
        """What the pictures must have gone through."""
        ...

    @property
    def batch_policy(self) -> BatchPolicy:
        """What this backend runs best with."""
        ...

    def encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Features of a batch.

        Args:
            images_NHWC: uint8 (N, H, W, 3), RGB, N from 1 to `batch_policy.max_size`.

        Returns:
            float16 (N, D).

        Raises:
            ModelError: The shape is not that of `preprocess`, or a feature is not finite.
        """
        ...

    def memory_bytes(self) -> Mapping[str, int]:
        """Memory of this process on its device, by kind; empty where nobody counts it.

        From any thread.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. Idempotent."""
        ...
