"""The ONNX graph of EfficientNet-Lite0, written node by node from the torch modules.

Written by hand rather than traced: the file then holds nothing but the network, is the same bytes
with every version of torch, and batch norms are folded exactly as said here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from torch import nn

OPSET = 17
"""Old enough for every onnxruntime this project supports."""
IR_VERSION = 8
INPUT = "images"
OUTPUT = "features"
SIZE_PIXELS = 224
FEATURE_DIM = 1280


class GraphWriter:
    """Collects nodes and weights. Every method takes a tensor's name and returns the next one's."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def normalise(self, images: str) -> str:
        """Uint8 (N, H, W, 3) → (rgb - 127) / 128 as float32 (N, 3, H, W).

        The values are those of Google's `efficientnet_lite_builder.py` (MEAN_RGB, STDDEV_RGB).
        Transposing comes first, while a pixel is one byte; dividing by 128 is exact.
        """
        planes = self._add("Transpose", [images], perm=[0, 3, 1, 2])
        planes = self._add("Cast", [planes], to=TensorProto.FLOAT)
        centred = self._add("Sub", [planes, self._weight("rgb_mean", np.float32(127))])
        return self._add("Mul", [centred, self._weight("rgb_scale", np.float32(1 / 128))])

    def conv(self, x: str, conv: nn.Conv2d, norm: nn.BatchNorm2d) -> str:
        """A convolution with TensorFlow's "same" padding and its batch norm, as one node."""
        kernel, bias = fold(conv, norm)
        node = f"conv{len(self._weights)}"
        return self._add(
            "Conv",
            [x, self._weight(f"{node}_kernel", kernel), self._weight(f"{node}_bias", bias)],
            kernel_shape=list(kernel.shape[2:]),
            strides=list(conv.stride),
            pads=same_padding(conv),
            group=conv.groups,
        )

    def relu6(self, x: str) -> str:
        """min(max(x, 0), 6)."""
        bounds = [self._weight("zero", np.float32(0)), self._weight("six", np.float32(6))]
        return self._add("Clip", [x, *bounds])

    def add(self, x: str, y: str) -> str:
        """A skip connection."""
        return self._add("Add", [x, y])

    def pool(self, x: str) -> str:
        """The mean over the picture, flattened, under the name of the graph's output."""
        pooled = self._add("GlobalAveragePool", [x])
        self._nodes.append(helper.make_node("Flatten", [pooled], [OUTPUT], axis=1))
        return OUTPUT

    def model(self) -> onnx.ModelProto:
        """The whole file, checked."""
        shape_in: list[str | int | None] = ["N", SIZE_PIXELS, SIZE_PIXELS, 3]
        graph = helper.make_graph(
            self._nodes,
            "efficientnet_lite0",
            [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape_in)],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", FEATURE_DIM])],
            self._weights,
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _weight(self, name: str, value: np.ndarray | np.float32) -> str:
        if all(weight.name != name for weight in self._weights):
            self._weights.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of `norm(conv(x))`: float32, computed in float64.

    norm(y) = (y - mean) / sqrt(variance + eps) * gain + offset, with y linear in the kernel.
    """
    if conv.bias is not None or norm.running_mean is None or norm.running_var is None:
        raise ValueError("expected a convolution without bias and a batch norm with statistics")
    mean, variance, gain, offset, kernel = (
        tensor.detach().numpy().astype(np.float64)
        for tensor in (norm.running_mean, norm.running_var, norm.weight, norm.bias, conv.weight)
    )
    factor = gain / np.sqrt(variance + norm.eps)
    bias = offset - mean * factor
    return (kernel * factor[:, None, None, None]).astype(np.float32), bias.astype(np.float32)


def same_padding(conv: nn.Conv2d) -> list[int]:
    """ONNX `pads` (top, left, bottom, right) of the zero padding the package put before `conv`."""
    padding = getattr(conv.static_padding, "padding", (0, 0, 0, 0))
    left, right, top, bottom = padding
    return [top, left, bottom, right]
