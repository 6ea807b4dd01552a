"""Labels: what they are, the canonical CSV file, and importers of what other tools write.

`annotation` and `labels` are the nouns, `table` reads and writes the CSV file, `formats` lists the
importers, one file each.
"""

from streamer.training.annotations.annotation import Annotation, Kind, Split
from streamer.training.annotations.labels import BACKGROUND, Labels, find_labels
from streamer.training.annotations.table import (
    MAX_OVERLAP_SECONDS,
    Row,
    read_annotations,
    read_table,
    write_table,
)

__all__ = [
    "BACKGROUND",
    "MAX_OVERLAP_SECONDS",
    "Annotation",
    "Kind",
    "Labels",
    "Row",
    "Split",
    "find_labels",
    "read_annotations",
    "read_table",
    "write_table",
]
