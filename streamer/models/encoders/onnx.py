"""Encoders in ONNX files, run by onnxruntime."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from streamer.core.errors import ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.encoders.checks import POLICIES, check_images, to_float16
from streamer.models.encoders.description import FILE_NAME, EncoderDescription, read_description
from streamer.models.encoders.device import parse_device
from streamer.models.encoders.digest import encoder_digest
from streamer.models.encoders.encoder import BatchPolicy
from streamer.models.encoders.session import ORT_ERRORS, open_session
from streamer.models.encoders.signature import Signature, read_signature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# How protobuf writes the key that says "this weight lies in another file".
_EXTERNAL_DATA = b"\x0a\x08location\x12"


class OnnxEncoder:
    """An ONNX graph from pictures to features. Satisfies `Encoder`; used by one thread.

    The graph takes uint8 (N, H, W, 3), or float32 (N, 3, H, W) with a `normalise` in the
    `encoder.json` beside the file. It gives (N, D) or (N, D, 1, 1), as its output `features` or as
    its only one.

    Args:
        path: The `.onnx` file, weights inside.
        preprocess: What the pictures go through; None: as `encoder.json` says, or else stretched
            to the graph's size.
        name: What the user called it.
        num_threads: Threads of the session. On a CPU, a process with one thread per core does more
            frames than one process with large batches.
        device: `cpu`, `cuda` or `cuda:N`. There is no fallback from one to another.

    Raises:
        ModelError: The file is missing, damaged, no encoder, or does not fit `preprocess`, or the
            device is not there.
        ConfigError: `device` is not a device.
    """

    backend = "onnx"

    def __init__(
        self,
        path: Path,
        preprocess: Preprocess | None,
        *,
        name: str,
        num_threads: int = 1,
        device: str = "cpu",
    ) -> None:
        self.name = name
        where = parse_device(device)
        self.device = str(where)
        description = read_description(path)
        data = _read(path)
        sha256 = hashlib.sha256(data).hexdigest()
        if description.sha256 not in (None, sha256):
            raise ModelError(
                f"{path}: expected sha256 {description.sha256} as in {FILE_NAME}, found {sha256}; "
                f"the file is damaged, or {FILE_NAME} belongs to another: get both again"
            )
        self._session = open_session(data, where, name=name, num_threads=num_threads)
        self._signature = read_signature(
            self._session.get_inputs(), self._session.get_outputs(), name=name
        )
        self.preprocess = _choose_preprocess(preprocess, description, self._signature, name=name)
        self._affine = _affine(description, self._signature, name=name)
        self.batch_policy = POLICIES[where.kind]
        if self._signature.one_by_one:
            self.batch_policy = BatchPolicy(max_size=1, max_wait_seconds=0.0)
        self.encoder_id = encoder_digest(
            architecture="onnx",
            weights_sha256=sha256,
            preprocess=self.preprocess,
            normalise=None if self._signature.takes_bytes else description.normalise,
        )
        # A first picture finds D, and what the graph's declared shapes did not tell.
        self.feature_dim = self.encode(np.zeros((1, *self.preprocess.shape), np.uint8)).shape[1]

    def encode(self, images_NHWC: np.ndarray) -> np.ndarray:
        """Features of a batch: uint8 (N, H, W, 3) RGB → float16 (N, D).

        Raises:
            ModelError: The shape is not that of `preprocess`, a feature is not finite, the graph
                fails, or the encoder is closed.
        """
        check_images(images_NHWC, self.preprocess, name=self.name)
        inputs = images_NHWC
        if self._affine is not None:
            gain, offset = self._affine
            inputs = np.ascontiguousarray((inputs * gain + offset).transpose(0, 3, 1, 2))
        if self._signature.one_by_one:
            features = np.concatenate([self._run(row[None]) for row in inputs])
        else:
            features = self._run(inputs)
        return to_float16(features, name=self.name)

    def memory_bytes(self) -> Mapping[str, int]:
        """Onnxruntime does not say."""
        return {}

    def close(self) -> None:
        """Free the session's memory. Idempotent."""
        self._session = None

    def _run(self, inputs: np.ndarray) -> np.ndarray:
        if self._session is None:
            raise ModelError(f"encoder {self.name}: closed; open it again")
        signature = self._signature
        try:
            outputs = self._session.run([signature.output_name], {signature.input_name: inputs})
        except ORT_ERRORS as error:
            raise ModelError(f"encoder {self.name}: onnxruntime failed: {error}") from error
        features: np.ndarray = outputs[0]
        if features.shape[0] != len(inputs) or features.size != np.prod(features.shape[:2]):
            raise ModelError(
                f"encoder {self.name}: expected features ({len(inputs)}, D), "
                f"found {features.shape}; pool over the picture and export the graph again"
            )
        return features.reshape(features.shape[:2])


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: can't read the encoder ({error.strerror})") from error
    if _EXTERNAL_DATA in data:
        # They would be missing from the digest.
        raise ModelError(f"{path}: weights lie outside the file; save it again with them inside")
    return data


def _choose_preprocess(
    wanted: Preprocess | None, described: EncoderDescription, graph: Signature, *, name: str
) -> Preprocess:
    chosen = wanted or described.preprocess
    if chosen is None:
        if graph.height is None or graph.width is None:
            raise ModelError(
                f"encoder {name}: the graph takes pictures of any size; "
                f"say which in the preprocess of the bundle or of {FILE_NAME}"
            )
        return Preprocess(width=graph.width, height=graph.height)
    if graph.height not in (chosen.height, None) or graph.width not in (chosen.width, None):
        raise ModelError(
            f"encoder {name}: expected pictures of {graph.width}x{graph.height} pixels, "
            f"found {chosen.width}x{chosen.height} in the preprocess; make them the same"
        )
    return chosen


def _affine(
    described: EncoderDescription, graph: Signature, *, name: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """(gain, offset) per channel, so that normalised = rgb * gain + offset; None for bytes."""
    normalise = described.normalise
    if graph.takes_bytes:
        if normalise is not None:
            raise ModelError(
                f"encoder {name}: {FILE_NAME} has a normalise, but the graph takes bytes; remove it"
            )
        return None
    if normalise is None:
        raise ModelError(
            f"encoder {name}: the graph takes float32, expected a normalise with scale, mean and "
            f"std in the {FILE_NAME} beside it, found none; write one"
        )
    return normalise.affine()
