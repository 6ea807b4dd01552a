"""Groups of features whose importance is measured together.

A single one of a thousand features hardly matters, and two that say the same cover for each other
(Strobl et al., "Conditional variable importance for random forests", 2008): groups of what belongs
together are told apart better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from streamer.core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Group:
    """Some features.

    Attributes:
        name: For people.
        columns: Which, indices into the feature vector, rising.
    """

    name: str
    columns: tuple[int, ...]


def equal_blocks(feature_dim: int, num_groups: int) -> tuple[Group, ...]:
    """Neighbours in the feature vector; sizes differ by one at most.

    Raises:
        ConfigError: More groups than features, or none.
    """
    check_number(feature_dim, num_groups)
    parts = np.array_split(np.arange(feature_dim), num_groups)
    return tuple(
        Group(f"{part[0]}-{part[-1]}" if len(part) > 1 else f"{part[0]}", tuple(part.tolist()))
        for part in parts
    )


def correlated_groups(features_ND: np.ndarray, num_groups: int) -> tuple[Group, ...]:
    """Features that go up and down together: complete linkage over 1 - |r|, r Pearson's.

    The two clusters whose farthest features are nearest are joined until so many are left
    (Sørensen, 1948). Average linkage would leave single features that hardly ever change, and one
    cluster of all others. Features that never change are alike, and correlated with no other.

    Args:
        features_ND: Of all frames.
        num_groups: How many are left.

    Returns:
        The largest first.

    Raises:
        ConfigError: More groups than features, or none.
    """
    feature_dim = features_ND.shape[1]
    check_number(feature_dim, num_groups)
    clusters = [[column] for column in range(feature_dim)]
    distances_KK = _distances(features_ND)
    nearest_K = distances_KK.argmin(axis=1)
    rows = np.arange(feature_dim)
    for _ in range(feature_dim - num_groups):
        one = int(distances_KK[rows, nearest_K].argmin())
        one, other = sorted((one, int(nearest_K[one])))
        joined_K = np.maximum(distances_KK[one], distances_KK[other])
        distances_KK[one], distances_KK[:, one] = joined_K, joined_K
        distances_KK[other], distances_KK[:, other] = np.inf, np.inf
        clusters[one] += clusters[other]
        clusters[other] = []
        # What was joined is no nearer than either of the two: others keep their nearest.
        stale = np.flatnonzero(np.isin(nearest_K, (one, other)) | np.isin(rows, (one, other)))
        nearest_K[stale] = distances_KK[stale].argmin(axis=1)
    left = sorted((sorted(cluster) for cluster in clusters if cluster), key=lambda c: (-len(c), c))
    return tuple(
        Group(f"cluster {number} ({len(columns)})", tuple(columns))
        for number, columns in enumerate(left, start=1)
    )


def _distances(features_ND: np.ndarray) -> np.ndarray:
    """1 - |r| of each pair, float32 (D, D), infinite of each with itself."""
    centred_ND = features_ND.astype(np.float32)
    centred_ND -= centred_ND.mean(axis=0)
    norm_D = np.linalg.norm(centred_ND, axis=0)
    centred_ND /= np.where(norm_D > 0, norm_D, 1)
    distances_DD = 1 - np.abs(centred_ND.T @ centred_ND)
    distances_DD[np.ix_(norm_D == 0, norm_D == 0)] = 0
    np.fill_diagonal(distances_DD, np.inf)
    return np.asarray(distances_DD)


def check_number(feature_dim: int, num_groups: int) -> None:
    """Raise ConfigError unless there can be so many groups."""
    if not 1 <= num_groups <= feature_dim:
        raise ConfigError(
            f"groups: expected 1 to {feature_dim}, as many as there are features, "
            f"found {num_groups}"
        )
