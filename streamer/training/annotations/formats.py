"""The formats that can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.activitynet import import_activitynet
from streamer.training.annotations.boris import import_boris
from streamer.training.annotations.cholec80 import import_cholec80
from streamer.training.annotations.cvat import import_cvat
from streamer.training.annotations.elan import import_elan
from streamer.training.annotations.label_studio import import_label_studio
from streamer.training.annotations.ms_tcn import import_ms_tcn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamer.training.annotations.imported import Imported, ImportOptions

FORMATS: dict[str, Callable[[Path, ImportOptions], Imported]] = {
    "activitynet": import_activitynet,
    "boris": import_boris,
    "cholec80": import_cholec80,
    "cvat": import_cvat,
    "elan": import_elan,
    "label-studio": import_label_studio,
    "ms-tcn": import_ms_tcn,
}


def import_annotations(name: str, path: Path, options: ImportOptions) -> Imported:
    """Import a file or folder of a format.

    Raises:
        ConfigError: There is no such format or file, or the file is not of that format.
    """
    if name not in FORMATS:
        raise ConfigError(f"format: expected one of {', '.join(FORMATS)}, found {name!r}")
    if not path.exists():
        raise ConfigError(f"{path}: expected a file or folder to import, found none")
    return FORMATS[name](path, options)
