"""Encoders in torch: any classifier of torchvision, without its classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from streamer.core.errors import ModelError
from streamer.models.encoders.backbone import build_backbone
from streamer.models.encoders.checks import POLICIES, check_images, to_float16
from streamer.models.encoders.description import Normalisation
from streamer.models.encoders.device import Device, DeviceKind, parse_device
from streamer.models.encoders.digest import encoder_digest
from streamer.models.encoders.weights import weights_digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.core.preprocess import Preprocess
    from streamer.models.encoders.reference import TorchvisionReference

IMAGENET = Normalisation(scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""What all of torchvision's classifiers were trained on."""


class TorchEncoder:
    """A torchvision backbone. Satisfies `Encoder`; used by one thread.

    On a GPU it computes in bfloat16 with channels last, on a CPU in float32.

    Args:
        reference: Which network and weights.
        preprocess: What the pictures go through; None: stretched to the size the weights were
            made for.
        name: What the user called it.
        device: `cpu`, `cuda` or `cuda:N`; None: the first GPU, or the CPU where there is none.
        num_threads: Threads on a CPU. torch has one setting for the whole process, set here.

    Raises:
        ConfigError: torchvision has no such classifier, or `device` is not a device.
        ModelError: The weights are not there or don't fit, the network takes no pictures of that
            size, or the device is not there.
    """

    backend = "torch"

    def __init__(
        self,
        reference: TorchvisionReference,
        preprocess: Preprocess | None,
        *,
        name: str,
        device: str | None = None,
        num_threads: int = 1,
    ) -> None:
        self.name = name
        where = _choose_device(device, name=name)
        self.device = str(where)
        backbone = build_backbone(reference, name=name)
        self.preprocess = preprocess or backbone.default_preprocess
        self.batch_policy = POLICIES[where.kind]
        self.encoder_id = encoder_digest(
            architecture=f"torchvision:{reference.architecture}",
            weights_sha256=weights_digest(backbone.network),
            preprocess=self.preprocess,
            normalise=IMAGENET,
        )
        self._on_gpu = where.kind is DeviceKind.CUDA
        if not self._on_gpu:
            torch.set_num_threads(num_threads)
        self._device = torch.device("cuda", where.index) if self._on_gpu else torch.device("cpu")
        self._network: torch.nn.Module | None = backbone.network.to(self._device).to(
            memory_format=torch.channels_last
        )
        gain, offset = IMAGENET.affine()
        self._gain = torch.from_numpy(gain).to(self._device).view(1, 3, 1, 1)
        self._offset = torch.from_numpy(offset).to(self._device).view(1, 3, 1, 1)
        # A first picture finds D, and whether the network takes this size.
        self.feature_dim = self.encode(np.zeros((1, *self.preprocess.shape), np.uint8)).shape[1]

    def encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Features of a batch: uint8 (N, H, W, 3) RGB → float16 (N, D).

        Raises:
            ModelError: The shape is not that of `preprocess`, a feature is not finite, the network
                fails, or the encoder is closed.
        """
        check_images(images_NHWC, self.preprocess, name=self.name)
        if self._network is None:
            raise ModelError(f"encoder {self.name}: closed; open it again")
        try:
            features = self._forward(self._network, images_NHWC)
        # torchvision refuses sizes by assertion, torch everything else by RuntimeError.
        except (RuntimeError, AssertionError) as error:
            height, width, _ = self.preprocess.shape
            raise ModelError(
                f"encoder {self.name}: failed on {len(images_NHWC)} pictures of "
                f"{width}x{height} pixels: {error}"
            ) from error
        return to_float16(features, name=self.name)

    def memory_bytes(self) -> Mapping[str, int]:
        """What torch's allocator has of the GPU: `allocated` to tensors, and `reserved`."""
        if not self._on_gpu:
            return {}
        return {
            "allocated": torch.cuda.memory_allocated(self._device),
            "reserved": torch.cuda.memory_reserved(self._device),
        }

    def close(self) -> None:
        """Free the device's memory. Idempotent."""
        self._network = None
        if self._on_gpu:
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _forward(self, network: torch.nn.Module, images_NHWC: np.ndarray) -> np.ndarray:
        # torch wants memory it may write to, even to read it.
        owned = np.require(images_NHWC, requirements=("C", "W"))
        # Bytes cross to the device; the transposed view is already channels last.
        planes = torch.from_numpy(owned).to(self._device).permute(0, 3, 1, 2).float()
        inputs = planes.mul_(self._gain).add_(self._offset)
        with torch.autocast(self._device.type, dtype=torch.bfloat16, enabled=self._on_gpu):
            features_ND = network(inputs)
        features: np.ndarray = features_ND.float().cpu().numpy()
        return features


def _choose_device(text: str | None, *, name: str) -> Device:
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text is None:
        return Device(DeviceKind.CUDA if num_gpus else DeviceKind.CPU)
    device = parse_device(text)
    if device.kind is DeviceKind.CUDA and device.index >= num_gpus:
        raise ModelError(
            f"encoder {name}: expected the device {text}, torch found {num_gpus} GPUs; "
            f"check the driver, or choose the device cpu"
        )
    return device
