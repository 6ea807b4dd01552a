"""Whatever is in a file: rows come of it, or a ConfigError, and never another exception."""

from __future__ import annotations

import json
import math
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.core.errors import ConfigError
from streamer.training.annotations import Annotation, Kind, Row, Split, read_table, write_table
from streamer.training.annotations.formats import import_annotations
from streamer.training.annotations.imported import ImportOptions
from streamer.training.annotations.table import scan_table
from tests import exports

SAMPLES = {
    ("activitynet", "a.json"): json.dumps(exports.ACTIVITYNET).encode(),
    ("boris", "a.boris"): json.dumps(exports.BORIS).encode(),
    ("boris", "a.tsv"): exports.BORIS_TABULAR_7.encode(),
    ("boris", "a.csv"): exports.BORIS_AGGREGATED.encode(),
    ("cholec80", "phase_annotations/a-phase.txt"): b"Frame\tPhase\n0\tA\n1\tA\n2\tB\n",
    ("cvat", "annotations.xml"): exports.CVAT.encode(),
    ("elan", "a.eaf"): exports.ELAN.encode(),
    ("label-studio", "a.json"): json.dumps(exports.LABEL_STUDIO).encode(),
    ("ms-tcn", "groundTruth/a.txt"): b"stir\nstir\npour\n",
    ("ms-tcn", "mapping.txt"): b"0 stir\n1 pour\n",
    ("ms-tcn", "features/a.npy"): b"\x93NUMPY\x01\x00",
}
OPTIONS = ImportOptions(fps=25.0)


def outcome(act):
    """What came of it, or None and what was said."""
    try:
        return act(), ""
    except ConfigError as error:
        return None, str(error)


@st.composite
def damaged(draw, whole: bytes) -> bytes:
    """A file cut short, with bytes changed, with a value replaced, or of other bytes."""
    match draw(st.sampled_from(("cut", "changed", "replaced", "other"))):
        case "cut":
            return whole[: draw(st.integers(0, len(whole)))]
        case "changed":
            data = bytearray(whole)
            for _ in range(draw(st.integers(1, 8))):
                data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
            return bytes(data)
        case "replaced":
            digits = [place for place, byte in enumerate(whole) if chr(byte).isdigit()]
            place = draw(st.sampled_from(digits or [0]))
            odd = st.sampled_from(
                (b"-1", b"1e999", b"null", b'"x"', b"[]", b"\xc2\xb2", b"9" * 400, b"", b"NaN")
            )
            return whole[:place] + draw(odd) + whole[place + 1 :]
        case _:
            return draw(st.binary(max_size=200))


@pytest.mark.parametrize(("name", "file"), SAMPLES, ids=lambda value: value.replace("/", "."))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_rows_or_a_config_error(name, file, data):
    with TemporaryDirectory() as folder:
        root = Path(folder)
        for (other, sample), whole in SAMPLES.items():
            if other == name:
                (root / sample).parent.mkdir(exist_ok=True)
                (root / sample).write_bytes(whole)
        (root / file).write_bytes(data.draw(damaged(SAMPLES[name, file])))
        path = root if name in ("cholec80", "ms-tcn") else root / file
        imported, said = outcome(lambda: import_annotations(name, path, OPTIONS))
        assert "\n" not in said
        for row in () if imported is None else imported.rows:
            note = row.annotation
            assert note.label
            assert 0 <= note.start_seconds < note.end_seconds < math.inf


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_damaged_table_is_scanned_or_refused(data):
    whole = b"video,start,end,label,kind,split\na.mp4,0,1,x,phase,train\nb.mp4,0,1,y,,test\n"
    with TemporaryDirectory() as folder:
        path = Path(folder) / "labels.csv"
        path.write_bytes(data.draw(damaged(whole)))
        table, said = outcome(lambda: scan_table(path))
        assert "\n" not in said
        assert (str(path) in said) == (table is None)


words = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8).map(
    lambda text: text.strip() or "x"
)
seconds = st.integers(0, 10**9).map(lambda micros: micros / 1e6)


@settings(max_examples=100, deadline=None)
@given(
    stretches=st.lists(
        st.tuples(words, st.sampled_from(Kind), seconds, seconds, words | st.just("")), min_size=1
    ),
    split=st.sampled_from((None, *Split)),
    source=words | st.just(""),
)
def test_what_is_written_is_read(stretches, split, source):
    with TemporaryDirectory() as folder:
        path = Path(folder).resolve() / "labels.csv"
        rows = [
            Row(
                video=path.parent / "a b,c.mp4",
                annotation=Annotation(
                    label=label,
                    kind=kind,
                    start_seconds=start,
                    end_seconds=start + length + 1e-6,
                    track=track,
                ),
                split=split,
                source=source,
            )
            for label, kind, start, length, track in stretches
        ]
        write_table(path, rows)
        again = read_table(path).rows
        assert len(again) == len(rows)
        for line, (row, read) in enumerate(zip(rows, again, strict=True), start=2):
            note, found = row.annotation, read.annotation
            assert (read.line, read.video, read.split, read.source) == (
                line,
                row.video,
                split,
                source,
            )
            assert (found.label, found.kind, found.track) == (note.label, note.kind, note.track)
            assert found.start_seconds == pytest.approx(note.start_seconds, abs=1e-6)
            assert found.end_seconds == pytest.approx(note.end_seconds, abs=1e-6)
