"""`encoder_id`: one short digest of everything that decides a feature's value."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from streamer.core.preprocess import Preprocess
    from streamer.models.encoders.description import Normalisation

SEMANTICS_VERSION = 1
"""Grows when the same weights and pictures come to mean other features. 1: computed in float32
or, on a GPU, bfloat16, and rounded to float16. The device is left out on purpose: it changes
rounding, and a bundle trained on one must be served on the other."""
DIGITS = 16


def encoder_digest(
    *,
    architecture: str,
    weights_sha256: str,
    preprocess: Preprocess,
    normalise: Normalisation | None,
) -> str:
    """The id of an encoder, for example `sha256:0123456789abcdef`.

    Args:
        architecture: The network's name, or `onnx` where the file holds the graph as well.
        weights_sha256: Digest of the file or of the weights.
        preprocess: What happens before the encoder.
        normalise: What happens inside it, outside of the file.
    """
    identity = {
        "architecture": architecture,
        "normalise": normalise,
        "preprocess": preprocess,
        "semantics": SEMANTICS_VERSION,
        "weights": weights_sha256,
    }
    canonical = msgspec.json.encode(identity, order="sorted")
    return f"sha256:{hashlib.sha256(canonical).hexdigest()[:DIGITS]}"
