"""What an ONNX graph takes and gives, read from its declared inputs and outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamer.core.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTPUT_NAME = "features"
_TAKES = "uint8 (N, H, W, 3) or float32 (N, 3, H, W)"
_GIVES = "float (N, D) or (N, D, 1, 1)"
_AGAIN = "export the graph again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The graph's one input and the output to take.

    Attributes:
        input_name: The input.
        takes_bytes: True for uint8 (N, H, W, 3); False for float32 (N, 3, H, W).
        height: Pixels; None where the graph leaves it open.
        width: Pixels; None where the graph leaves it open.
        one_by_one: The graph was exported with N fixed to 1.
        output_name: The output.
    """

    input_name: str
    takes_bytes: bool
    height: int | None
    width: int | None
    one_by_one: bool
    output_name: str


def read_signature(inputs: Sequence[Any], outputs: Sequence[Any], *, name: str) -> Signature:
    """Read and check a graph's inputs and outputs.

    Args:
        inputs: onnxruntime's NodeArgs: `name`, `type` and `shape`, whose open sizes are no ints.
        outputs: The same of the outputs.
        name: The encoder, for messages.

    Raises:
        ModelError: The graph is no encoder of pictures, or its batch size is fixed above 1.
    """
    if len(inputs) != 1:
        found = ", ".join(_describe(node) for node in inputs) or "none"
        raise ModelError(f"encoder {name}: expected one input, {_TAKES}, found {found}; {_AGAIN}")
    images = inputs[0]
    takes_bytes = images.type == "tensor(uint8)"
    channel_axis = 3 if takes_bytes else 1
    fits = takes_bytes or images.type == "tensor(float)"
    if not fits or len(images.shape) != 4 or _size(images.shape[channel_axis]) not in (3, None):
        raise ModelError(
            f"encoder {name}: expected the input to be {_TAKES}, "
            f"found {_describe(images)}; {_AGAIN}"
        )
    num_images = _size(images.shape[0])
    if num_images not in (1, None):
        raise ModelError(
            f"encoder {name}: expected an open batch size, or 1, "
            f"found {_describe(images)}; {_AGAIN}"
        )
    height, width = images.shape[1:3] if takes_bytes else images.shape[2:4]
    return Signature(
        input_name=images.name,
        takes_bytes=takes_bytes,
        height=_size(height),
        width=_size(width),
        one_by_one=num_images == 1,
        output_name=_choose_output(outputs, name=name).name,
    )


def _choose_output(outputs: Sequence[Any], *, name: str) -> Any:
    named = [node for node in outputs if node.name == OUTPUT_NAME]
    chosen = named or outputs
    if len(chosen) != 1:
        found = ", ".join(_describe(node) for node in outputs)
        raise ModelError(
            f"encoder {name}: expected one output, or one named {OUTPUT_NAME!r}, "
            f"found {found}; {_AGAIN}"
        )
    node = chosen[0]
    sizes = [_size(size) for size in node.shape]
    flat = len(sizes) == 2 or (len(sizes) == 4 and all(size in (1, None) for size in sizes[2:]))
    if node.type not in ("tensor(float)", "tensor(float16)") or not flat:
        raise ModelError(
            f"encoder {name}: expected the output to be {_GIVES}, found {_describe(node)}; "
            f"pool over the picture and {_AGAIN}"
        )
    return node


def _size(size: Any) -> int | None:
    return size if isinstance(size, int) else None


def _describe(node: Any) -> str:
    shape = ", ".join(str(size) if isinstance(size, int) else "?" for size in node.shape)
    return f"{node.name}: {node.type.removeprefix('tensor(').removesuffix(')')} ({shape})"
