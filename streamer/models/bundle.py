"""A bundle: one folder with a temporal model and all that is needed to serve it.

`model.onnx`, `model.safetensors`, `config.json`, `preprocess.json`, `decoder.json`,
`metrics.json`, `README.md` (the model card) and `manifest.json`, which has the sha256 of each.
No pickle, ever.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from streamer.core.errors import ModelError
from streamer.core.preprocess import Preprocess

SHIPPED = Path(__file__).parent / "bundles"
MANIFEST = "manifest.json"
FILES = (
    "config.json",
    "decoder.json",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
    "preprocess.json",
    "README.md",
)

Content = TypeVar("Content")


class GapConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What missing video does to the state.

    Attributes:
        hold_seconds: A gap up to this long keeps the state; a longer one resets it.
    """

    hold_seconds: float

    def __post_init__(self) -> None:
        _expect("gap.hold_seconds", self.hold_seconds >= 0, "at least 0", self.hold_seconds)


class ModelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`config.json`.

    Attributes:
        name: Of the bundle.
        architecture: `lstm`.
        feature_dim: Width of the encoder's features, D.
        projection_dim: Width of what goes into the recurrent layers.
        hidden_dim: H.
        num_layers: L.
        phases: Labels of which one holds at a time.
        actions: Labels that hold independently.
        analysis_fps: Frames per second it was trained with.
        encoder: Name of the encoder.
        encoder_id: Its digest.
        gap: What missing video does.
        format_version: Of this folder's layout.
    """

    name: str
    architecture: str
    feature_dim: int
    projection_dim: int
    hidden_dim: int
    num_layers: int
    phases: tuple[str, ...]
    actions: tuple[str, ...]
    analysis_fps: float
    encoder: str
    encoder_id: str
    gap: GapConfig
    format_version: int = 1

    def __post_init__(self) -> None:
        _expect("format_version", self.format_version == 1, "1", self.format_version)
        _expect("architecture", self.architecture == "lstm", "lstm", self.architecture)
        _expect("analysis_fps", self.analysis_fps > 0, "more than 0", self.analysis_fps)
        for name in ("feature_dim", "projection_dim", "hidden_dim", "num_layers"):
            _expect(name, getattr(self, name) >= 1, "at least 1", getattr(self, name))
        labels = (*self.phases, *self.actions)
        _expect("phases and actions", bool(labels), "at least one label", labels)
        _expect("labels", len(set(labels)) == len(labels), "no label twice", labels)
        _expect("labels", all(labels), "no empty label", labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Phases, then actions: the order of the model's outputs."""
        return (*self.phases, *self.actions)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.labels)


class DecoderConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`decoder.json`: fitted on validation data. Lists are per class, phases then actions.

    Attributes:
        phase_temperature: Logits of phases are divided by it before the softmax.
        action_temperature: Logits of actions are divided by it before the sigmoid.
        smoothing_seconds: Time constant of the exponential smoothing; 0 for none.
        enter_C: Smoothed probability at which a class is announced.
        exit_C: Smoothed probability below which it is given up.
        min_on_seconds_C: How long it must last to be confirmed.
        min_off_seconds_C: How long it must be gone to be ended (actions).
    """

    phase_temperature: float
    action_temperature: float
    smoothing_seconds: float
    enter_C: tuple[float, ...]
    exit_C: tuple[float, ...]
    min_on_seconds_C: tuple[float, ...]
    min_off_seconds_C: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("phase_temperature", "action_temperature"):
            _expect(name, getattr(self, name) > 0, "more than 0", getattr(self, name))
        _expect(
            "smoothing_seconds", self.smoothing_seconds >= 0, "at least 0", self.smoothing_seconds
        )
        lengths = {len(self.enter_C), len(self.exit_C)}
        lengths |= {len(self.min_on_seconds_C), len(self.min_off_seconds_C)}
        _expect("lists per class", len(lengths) == 1, "one length", sorted(lengths))
        for low, high in zip(self.exit_C, self.enter_C, strict=True):
            _expect("exit_C and enter_C", 0 < low <= high < 1, "0 < exit <= enter < 1", (low, high))
        shortest = min((*self.min_on_seconds_C, *self.min_off_seconds_C), default=0.0)
        _expect("minimum durations", shortest >= 0, "at least 0", shortest)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files are what its manifest says.

    Attributes:
        path: Its folder.
        model_id: Digest of the manifest, and so of everything in it.
        config: See `ModelConfig`.
        preprocess: How pictures are made into the encoder's input.
        decoder: See `DecoderConfig`.
        metrics: What was measured, on what.
    """

    path: Path
    model_id: str
    config: ModelConfig
    preprocess: Preprocess
    decoder: DecoderConfig
    metrics: dict[str, Any]

    @classmethod
    def load(cls, name_or_path: str | Path) -> Bundle:
        """Read and verify a bundle.

        Args:
            name_or_path: A shipped bundle's name, or a folder.

        Raises:
            ModelError: A file is missing, damaged, of another version, or does not fit the others.
        """
        path = _find(name_or_path)
        manifest = _verify(path)
        config = _read(path / "config.json", ModelConfig)
        decoder = _read(path / "decoder.json", DecoderConfig)
        if len(decoder.enter_C) != config.num_classes:
            raise ModelError(
                f"bundle {path}: config.json has {config.num_classes} labels, decoder.json "
                f"thresholds for {len(decoder.enter_C)}; export the bundle again"
            )
        return cls(
            path=path,
            model_id=f"sha256:{hashlib.sha256(manifest).hexdigest()[:16]}",
            config=config,
            preprocess=_read(path / "preprocess.json", Preprocess),
            decoder=decoder,
            metrics=_read(path / "metrics.json", dict),
        )


def shipped_names() -> list[str]:
    """Names of the bundles in the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{MANIFEST}"))


def _find(name_or_path: str | Path) -> Path:
    shipped = SHIPPED / str(name_or_path)
    if str(name_or_path) in shipped_names():
        return shipped
    path = Path(name_or_path)
    if not (path / MANIFEST).is_file():
        raise ModelError(
            f"bundle {name_or_path}: expected a folder with a {MANIFEST} or one of "
            f"{', '.join(shipped_names()) or 'no shipped names'}, found "
            f"{'no manifest in it' if path.is_dir() else 'nothing'}"
        )
    return path


def _verify(path: Path) -> bytes:
    """Check every file against the manifest; return the manifest's bytes."""
    raw = (path / MANIFEST).read_bytes()
    try:
        listed = msgspec.json.decode(raw, type=dict[str, str])
    except msgspec.MsgspecError as error:
        raise ModelError(f"bundle {path}: {MANIFEST}: unreadable ({error})") from error
    if missing := sorted(set(FILES) - listed.keys()):
        raise ModelError(f"bundle {path}: {MANIFEST} does not list {', '.join(missing)}")
    for name in FILES:
        try:
            found = hashlib.sha256((path / name).read_bytes()).hexdigest()
        except OSError as error:
            raise ModelError(f"bundle {path}: {name}: {error.strerror}") from error
        if found != listed[name]:
            raise ModelError(
                f"bundle {path}: {name}: expected sha256 {listed[name][:16]}…, found "
                f"{found[:16]}…; the file was changed or damaged: copy or export the bundle again"
            )
    return raw


def _read(file: Path, kind: type[Content]) -> Content:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise ModelError(f"bundle {file.parent}: {file.name}: {error}") from error


def _expect(name: str, holds: bool, expected: str, found: object) -> None:
    if not holds:
        raise ValueError(f"{name}: expected {expected}, found {found}")
