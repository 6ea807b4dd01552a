"""Opening a session of onnxruntime."""

from __future__ import annotations

from typing import Any

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

from streamer.core.errors import ModelError
from streamer.models.encoders.device import Device, DeviceKind

# They share no base of their own.
ORT_ERRORS = (
    ort.EPFail,
    ort.Fail,
    ort.InvalidArgument,
    ort.InvalidGraph,
    ort.InvalidProtobuf,
    ort.NoModel,
    ort.NotImplemented,
    ort.RuntimeException,
)
_LOG_FATAL = 4


def open_session(data: bytes, device: Device, *, name: str, num_threads: int) -> Any:
    """A session on exactly that device: no fallback to another.

    Args:
        data: An ONNX file with its weights inside.
        device: Where to compute.
        name: The encoder, for messages.
        num_threads: Threads that share one call's work. They sleep when there is none.

    Raises:
        ModelError: The file is no ONNX, or the device is not there.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # The blocked layout of the last level takes 11 ms per picture where the others take 27.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Every error is raised as well; once is enough.
    options.log_severity_level = _LOG_FATAL
    provider: tuple[str, dict[str, int]] = ("CPUExecutionProvider", {})
    if device.kind is DeviceKind.CUDA:
        provider = ("CUDAExecutionProvider", {"device_id": device.index})
    available = onnxruntime.get_available_providers()
    if provider[0] not in available:
        raise ModelError(
            f"encoder {name}: expected {provider[0]}, found {', '.join(available)}; "
            f"install onnxruntime-gpu in place of onnxruntime, or choose the device cpu"
        )
    try:
        session = onnxruntime.InferenceSession(data, options, providers=[provider])
    except ORT_ERRORS as error:
        raise ModelError(f"encoder {name}: not an ONNX file that runs here ({error})") from error
    # onnxruntime turns to the CPU by itself when CUDA's libraries don't load.
    if session.get_providers()[0] != provider[0]:
        raise ModelError(
            f"encoder {name}: {provider[0]} did not start; "
            f"install the CUDA and cuDNN that onnxruntime-gpu asks for, or choose the device cpu"
        )
    session.disable_fallback()
    return session
