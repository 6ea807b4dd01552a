"""`manifest.json`: which files a bundle has, and what exactly is in them."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, TypeVar

import msgspec

from streamer.core.errors import ModelError
from streamer.models.config import FORMAT_VERSION

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = "manifest.json"
FILES = (
    "README.md",
    "config.json",
    "decoder.json",
    "metrics.json",
    "model.onnx",
    "model.safetensors",
    "preprocess.json",
)
"""What every bundle has, beside the manifest."""
CAPTION_STEP = "caption_step.onnx"
OPTIONAL_FILES = (CAPTION_STEP,)
"""What some bundles have: the second graph of captions."""
_DIGITS = 16
T = TypeVar("T")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`manifest.json`: sha256 of each file, in hexadecimal."""

    files: dict[str, str]
    format_version: int = FORMAT_VERSION


def make_manifest(path: Path) -> bytes:
    """The content of `manifest.json` for the files in a folder."""
    names = [*FILES, *(name for name in OPTIONAL_FILES if (path / name).is_file())]
    digests = {name: hashlib.sha256((path / name).read_bytes()).hexdigest() for name in names}
    return msgspec.json.format(msgspec.json.encode(Manifest(files=digests)), indent=2) + b"\n"


def read_verified(path: Path) -> tuple[dict[str, bytes], str]:
    """The content of each of `FILES` in a folder, with what else it has, and the bundle's id.

    Raises:
        ModelError: A file is missing, or is not the one the manifest names.
    """
    data = _read_bytes(path / MANIFEST)
    manifest = decode_json(path / MANIFEST, data, Manifest)
    if manifest.format_version != FORMAT_VERSION:
        raise ModelError(
            f"{path / MANIFEST}: format_version: expected {FORMAT_VERSION}, "
            f"found {manifest.format_version}; use the version of streamer that made it"
        )
    if missing := [name for name in FILES if name not in manifest.files]:
        raise ModelError(f"{path / MANIFEST}: expected the digest of {missing[0]}, found none")
    names = [*FILES, *(name for name in OPTIONAL_FILES if name in manifest.files)]
    contents = {name: _read(path / name, manifest.files[name]) for name in names}
    return contents, f"sha256:{hashlib.sha256(data).hexdigest()[:_DIGITS]}"


def decode_json(path: Path, data: bytes, kind: type[T]) -> T:
    """JSON of a known type. `path` is for the message.

    Raises:
        ModelError: It is not of that type.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ModelError(f"{path}: {error}; correct it and make the manifest again") from error


def _read(path: Path, expected: str) -> bytes:
    data = _read_bytes(path)
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise ModelError(
            f"{path}: expected sha256 {expected} as in {MANIFEST}, found {found}; "
            f"the file is damaged or was changed: get the bundle again"
        )
    return data


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: can't read it ({error.strerror}); get the bundle again"
        ) from error
