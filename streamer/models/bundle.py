"""Bundles: a folder with a trained temporal model and all that is needed to serve it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.numpy
from safetensors import SafetensorError, safe_open

from streamer.core.errors import ModelError
from streamer.core.preprocess import Preprocess
from streamer.models.anomaly import AnomalyConfig
from streamer.models.config import NUM_GATES, DecoderConfig, GapConfig, ModelConfig
from streamer.models.manifest import CAPTION_STEP, MANIFEST, decode_json, read_verified
from streamer.models.phase_filter import PhaseFilterConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

__all__ = [
    "AnomalyConfig",
    "Bundle",
    "DecoderConfig",
    "GapConfig",
    "ModelConfig",
    "PhaseFilterConfig",
    "shipped_names",
]

SHIPPED = Path(__file__).parent / "bundles"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle whose files have been checked against its manifest.

    Attributes:
        path: The folder.
        model_id: Digest of the manifest, and with it of every file.
        config: See `ModelConfig`.
        preprocess: What pictures go through before the encoder.
        decoder: See `DecoderConfig`.
        metrics: How good it was on unseen data.
    """

    path: Path
    model_id: str
    config: ModelConfig
    preprocess: Preprocess
    decoder: DecoderConfig
    metrics: Mapping[str, Any]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Bundle:
        """Read and check a bundle.

        Args:
            name_or_path: Name of a shipped bundle, such as `workcell`, or a folder.

        Raises:
            ModelError: It is missing, damaged, of another format, or inconsistent.
        """
        path = find_bundle(name_or_path)
        contents, model_id = read_verified(path)
        config = decode_json(path / "config.json", contents["config.json"], ModelConfig)
        decoder = decode_json(path / "decoder.json", contents["decoder.json"], DecoderConfig)
        _check_card(path / "README.md", contents["README.md"])
        _check_lengths(path / "decoder.json", config, decoder)
        if (CAPTION_STEP in contents) != (config.head == "caption"):
            expected = "a file" if config.head == "caption" else "no file"
            raise ModelError(
                f"{path / CAPTION_STEP}: expected {expected} in {MANIFEST}, as the head is "
                f"{config.head}; export the bundle again"
            )
        _check_weights(path / "model.safetensors", contents["model.safetensors"], config)
        return cls(
            path=path,
            model_id=model_id,
            config=config,
            preprocess=decode_json(
                path / "preprocess.json", contents["preprocess.json"], Preprocess
            ),
            decoder=decoder,
            metrics=decode_json(path / "metrics.json", contents["metrics.json"], dict[str, Any]),
        )

    def normalisation(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and inverse spread of each feature in training: float32 (D,) each.

        Raises:
            ModelError: The weights can't be read.
        """
        path = self.path / "model.safetensors"
        try:
            with safe_open(path, "numpy") as tensors:
                return tensors.get_tensor("mean_D"), tensors.get_tensor("scale_D")
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path}: can't read mean_D and scale_D ({error})") from error


def shipped_names() -> list[str]:
    """Names of the bundles that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))


def find_bundle(name_or_path: str | Path) -> Path:
    """The folder that is meant.

    Raises:
        ModelError: There is no bundle.
    """
    if str(name_or_path) in shipped_names():
        return SHIPPED / str(name_or_path)
    path = Path(name_or_path).expanduser()
    if not (path / MANIFEST).is_file():
        found = "no such folder" if not path.is_dir() else f"a folder without {MANIFEST}"
        raise ModelError(
            f"bundle {name_or_path}: expected a folder with a {MANIFEST}, or one of: "
            f"{', '.join(shipped_names())}; found {found}"
        )
    return path


def _check_card(path: Path, data: bytes) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{path}: expected text in UTF-8, found something else ({error}); get the bundle again"
        ) from error


def _check_lengths(path: Path, config: ModelConfig, decoder: DecoderConfig) -> None:
    for name in ("enter_C", "exit_C", "min_on_seconds_C", "min_off_seconds_C"):
        found = len(getattr(decoder, name))
        if found != config.num_thresholds:
            raise ModelError(
                f"{path}: {name}: expected {config.num_thresholds} values, one per label of "
                f"config.json if its head is frames, found {found}"
            )
    chain = decoder.phase_filter
    if chain is not None and len(chain.initial_P) != len(config.phases):
        raise ModelError(
            f"{path}: phase_filter: expected {len(config.phases)} values, one per phase of "
            f"config.json, found {len(chain.initial_P)}"
        )
    if (decoder.anomaly is not None) != bool(config.anomaly_dim):
        expected = "thresholds for the anomaly head" if config.anomaly_dim else "none"
        raise ModelError(f"{path}: anomaly: expected {expected}, as config.json says")


def _check_weights(path: Path, data: bytes, config: ModelConfig) -> None:
    try:
        tensors = safetensors.numpy.load(data)
    except SafetensorError as error:
        raise ModelError(f"{path}: not a safetensors file ({error})") from error
    gates_dim = NUM_GATES[config.architecture] * config.hidden_dim
    last = f"{config.cell_family}.weight_hh_l{config.num_layers - 1}"
    width = config.directions * config.hidden_dim
    if config.head == "caption":
        width += config.hidden_dim  # the decoder's own, beside what it looks at
    head = "head.weight" if config.head in ("frames", "ctc") else "head.linear.weight"
    expected: dict[str, tuple[int, ...]] = {}
    if config.num_classes:
        expected[head] = (config.num_classes, width)
    expected |= {
        "projection.weight": (config.projection_dim, config.feature_dim),
        last: (gates_dim, config.hidden_dim),
    }
    if config.anomaly_dim:
        expected["anomaly.basis_DJ"] = (config.feature_dim, config.anomaly_dim - 1)
        expected["anomaly.predict.2.weight"] = (2 * config.anomaly_dim, config.hidden_dim)
    if config.anticipation_frames:
        ahead = config.anticipation_frames * config.anomaly_dim
        expected["anticipation.predict.2.weight"] = (ahead, config.hidden_dim)
    for name, shape in expected.items():
        found = tensors[name].shape if name in tensors else "none"
        if found != shape:
            raise ModelError(
                f"{path}: {name}: expected shape {shape} as config.json says, found {found}"
            )
