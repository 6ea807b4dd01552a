"""Features that were made elsewhere: `.npy` files (D, T), and a JSON file that describes them.

`NAME.features.json` stands beside the table of labels `NAME.csv` whose rows name the `.npy` files.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from streamer.core.errors import ConfigError
from streamer.models.encoders.digest import DIGITS
from streamer.training.annotations.documents import read_json

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX = ".npy"


class FeatureSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the features of a dataset are.

    Attributes:
        name: Of the set, for example `50salads`: features of other sets are others.
        feature_dim: D.
        fps: Features per second.
    """

    name: str
    feature_dim: int
    fps: float

    def __post_init__(self) -> None:
        if not self.name or self.feature_dim < 1 or not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError("expected a name, feature_dim >= 1 and fps above 0")

    @property
    def encoder_id(self) -> str:
        """Digest over the name and D: nothing else is known of what made them."""
        identity = f"external:{self.name}:{self.feature_dim}".encode()
        return f"sha256:{hashlib.sha256(identity).hexdigest()[:DIGITS]}"


def open_features(path: Path) -> np.ndarray:
    """A feature file, mapped into memory: (D, T) of numbers.

    Raises:
        ConfigError: It can't be read or is something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise ConfigError(f"{path}: can't read the features ({error.strerror})") from error
    except (ValueError, EOFError, TypeError, OverflowError) as error:
        # What numpy says of a file that is none of its own invites to unpickle it.
        raise ConfigError(
            f"{path}: expected features in a .npy file, found something else; make it again"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.dtype.kind not in "fiu":
        shape = getattr(array, "shape", "an archive")
        raise ConfigError(f"{path}: expected numbers (D, T), found {shape}")
    if not array.size:
        raise ConfigError(f"{path}: expected features, found none {array.shape}")
    return array


def read_features(path: Path, features: FeatureSet) -> np.ndarray:
    """The features of a file, as float16 (T, D).

    Raises:
        ConfigError: It can't be read, has another width, or numbers that float16 does not hold.
    """
    features_DT = open_features(path)
    if features_DT.shape[0] != features.feature_dim:
        raise ConfigError(
            f"{path}: expected {features.feature_dim} features per frame (D, T), "
            f"found {features_DT.shape}"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        features_TD = np.ascontiguousarray(features_DT.T, np.float16)
    check_finite(str(path), features_TD)
    return features_TD


def check_finite(name: str, features_TD: np.ndarray) -> None:
    """Raise ConfigError that names the first frame with a feature that is no number."""
    bad_T = ~np.isfinite(features_TD).all(axis=1)
    if bad_T.any():
        row = int(bad_T.argmax())
        value = features_TD[row][~np.isfinite(features_TD[row])][0]
        raise ConfigError(
            f"{name}: frame {row} (from 0): expected features that are finite in float16, found "
            f"{value} in {int(bad_T.sum())} of {len(bad_T)} frames; make them again"
        )


def describing_file(table: Path) -> Path:
    """Where a table's `FeatureSet` stands."""
    return table.with_suffix(".features.json")


def read_feature_set(table: Path) -> FeatureSet:
    """The `FeatureSet` of a table whose rows name `.npy` files.

    Raises:
        ConfigError: It is missing, or something else.
    """
    return read_json(describing_file(table), FeatureSet, what="a description of features")


def write_feature_set(table: Path, features: FeatureSet) -> None:
    """Describe the features of a table's `.npy` files."""
    data = msgspec.json.format(msgspec.json.encode(features), indent=2)
    describing_file(table).write_bytes(data + b"\n")
