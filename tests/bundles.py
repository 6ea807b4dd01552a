"""Bundles on disk, made of the shipped one."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from streamer.models.bundle import Bundle
from streamer.models.manifest import make_manifest

if TYPE_CHECKING:
    from pathlib import Path


def copy_bundle(path: Path, **changes: dict[str, Any]) -> Bundle:
    """A copy of the shipped bundle, another one by its id if anything is changed.

    Args:
        path: Where.
        **changes: By JSON file without its ending, the values that are others.
    """
    shutil.copytree(Bundle.load("workcell").path, path)
    for name, values in changes.items():
        file = path / f"{name}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
    (path / "manifest.json").write_bytes(make_manifest(path))
    return Bundle.load(path)
