"""MS-TCN (Abu Farha and Gall 2019): the folder of 50 Salads, GTEA, Breakfast and what followed.

`mapping.txt` has `index label` per class, `groundTruth/NAME.txt` a label per frame,
`features/NAME.npy` the features (D, T), and `splits/train.splitN.bundle` names of files. The
features are taken as they are: the rows name the `.npy` files instead of videos.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import ConfigError
from streamer.training.annotations.annotation import Kind, Split
from streamer.training.annotations.documents import read_text
from streamer.training.annotations.frames import runs
from streamer.training.annotations.imported import Imported, RowCollector
from streamer.training.feature_file import open_features

if TYPE_CHECKING:
    from pathlib import Path

    from streamer.training.annotations.imported import ImportOptions

MAX_DIFFERENCE_RATIO = 0.05
"""Features and labels of a video may differ in length so far; both end with the shorter."""


def import_ms_tcn(path: Path, options: ImportOptions) -> Imported:
    """Labels, splits and features. All labels are phases.

    Args:
        path: The folder of a dataset.
        options: `fps` of the features (50 Salads 30, GTEA and Breakfast 15), and `fold`.

    Raises:
        ConfigError: It is another folder, its files do not fit each other, or no rate was given.
    """
    if options.fps is None:
        raise ConfigError(
            f"{path}: expected the rate of the features, found none; give --fps "
            "(50 Salads: 30, GTEA and Breakfast: 15)"
        )
    classes = _read_mapping(path / "mapping.txt")
    splits = _read_splits(path / "splits", fold=options.fold)
    collector = RowCollector(path, options)
    files = sorted((path / "groundTruth").glob("*.txt"))
    dims: dict[int, Path] = {}
    for file in files:
        features = path / "features" / f"{file.stem}.npy"
        features_DT = open_features(features)
        dims.setdefault(features_DT.shape[0], features)
        collector.path = file
        labels = _read_labels(file, classes)
        num_frames = _common_length(collector, file, len(labels), features_DT.shape[1])
        for label, first, end in runs(labels[:num_frames]):
            collector.add(
                features,
                label,
                first / options.fps,
                end / options.fps,
                place=f"line {first + 1}",
                split=splits.get(file.name, Split.TRAIN if not splits else None),
                kind=Kind.PHASE,
            )
    if len(dims) > 1:
        (one, first_file), (other, second_file) = list(dims.items())[:2]
        raise ConfigError(
            f"{second_file}: expected {one} features per frame as in {first_file.name}, "
            f"found {other}"
        )
    done = collector.finish()
    kept = tuple(row for row in done.rows if row.split is not None)
    remarks = list(done.remarks)
    if left_out := len({row.video for row in done.rows}) - len({row.video for row in kept}):
        remarks.append(f"videos in no part of split {options.fold}, left out: {left_out}")
    return Imported(
        rows=kept if splits else tuple(done.rows),
        remarks=tuple(remarks),
        features_fps=options.fps,
        feature_dim=next(iter(dims)),
    )


def _read_mapping(file: Path) -> set[str]:
    classes = set()
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        index, _, label = line.strip().partition(" ")
        if not line.strip():
            continue
        if not index.isdigit() or not label.strip():
            raise ConfigError(f"{file}, line {number}: expected `index label`, found {line[:40]!r}")
        classes.add(label.strip())
    return classes


def _read_splits(folder: Path, *, fold: int) -> dict[str, Split]:
    """Part by name of the file; empty where the folder has no splits."""
    if not folder.is_dir():
        return {}
    splits: dict[str, Split] = {}
    for part, split in (("train", Split.TRAIN), ("val", Split.VALIDATION), ("test", Split.TEST)):
        file = folder / f"{part}.split{fold}.bundle"
        if not file.is_file() and part == "val":
            continue
        for line in read_text(file).splitlines():
            name = line.strip().rpartition("/")[2]
            if name and splits.setdefault(name, split) is not split:
                raise ConfigError(f"{file}: {name} is in two parts of split {fold}")
    return splits


def _read_labels(file: Path, classes: set[str]) -> list[str]:
    labels = [line.strip() for line in read_text(file).splitlines()]
    while labels and not labels[-1]:
        labels.pop()
    for number, label in enumerate(labels, start=1):
        if label not in classes:
            raise ConfigError(
                f"{file}, line {number}: expected a label of mapping.txt, found {label[:40]!r}"
            )
    return labels


def _common_length(collector: RowCollector, file: Path, num_labels: int, num_frames: int) -> int:
    longer, shorter = max(num_labels, num_frames), min(num_labels, num_frames)
    if longer - shorter > MAX_DIFFERENCE_RATIO * longer:
        raise ConfigError(
            f"{file}: expected as many labels as features, found {num_labels} and {num_frames}; "
            "the features are to be (D, T)"
        )
    if longer != shorter:
        collector.remarks.append(f"{file.name}: {num_labels} labels, {num_frames} features")
    return shorter
