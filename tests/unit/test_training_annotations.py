from __future__ import annotations

import numpy as np
import pytest

from streamer.core.errors import ConfigError
from streamer.training.annotations import (
    BACKGROUND,
    Annotation,
    Kind,
    Labels,
    find_labels,
    read_annotations,
)


def write(tmp_path, text: str):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_annotations_are_grouped_by_video_and_sorted(tmp_path):
    path = write(
        tmp_path,
        "video, start, end, label, kind\n"
        "a.mp4, 2.5, 4, weld,\n"
        "a.mp4, 0, 2.5, wait, phase\n"
        "b/c.mp4, 1, 2, alarm, action\n",
    )
    by_video = read_annotations(path)
    assert list(by_video) == [tmp_path / "a.mp4", tmp_path / "b" / "c.mp4"]
    assert [note.label for note in by_video[tmp_path / "a.mp4"]] == ["wait", "weld"]
    assert find_labels(by_video) == Labels(("wait", "weld"), ("alarm",))


def test_a_byte_order_mark_of_a_spreadsheet_does_no_harm(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("video,start,end,label\na.mp4,0,1,x\n", encoding="utf-8-sig")
    assert len(read_annotations(path)) == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.mp4,2,1,x", "start 2 and end 1"),
        ("a.mp4,-1,1,x", "start -1"),
        ("a.mp4,zero,1,x", "start: expected seconds, found 'zero'"),
        ("a.mp4,0,nan,x", "end: expected seconds"),
        ("a.mp4,0,1,", "label: expected a value"),
        (",0,1,x", "video: expected a value"),
        ("a.mp4,0,1", "label: expected a value"),
    ],
)
def test_a_wrong_row_is_named_by_its_line(tmp_path, row, said):
    path = write(tmp_path, f"video,start,end,label\na.mp4,0,1,x\n{row}\n")
    with pytest.raises(ConfigError, match="line 3") as caught:
        read_annotations(path)
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "video,start,end,label\n", "file,from,to,what\na,0,1,x\n"])
def test_another_heading_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match="video,start,end,label"):
        read_annotations(write(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="can't read"):
        read_annotations(tmp_path / "none.csv")


def test_phases_that_overlap_are_refused(tmp_path):
    path = write(tmp_path, "video,start,end,label\na.mp4,0,2,x\na.mp4,1,3,y\n")
    with pytest.raises(ConfigError, match="one phase at a time"):
        read_annotations(path)


def test_a_label_of_two_kinds_is_refused(tmp_path):
    path = write(tmp_path, "video,start,end,label,kind\na,0,1,x,phase\na,0,1,x,action\n")
    with pytest.raises(ConfigError, match="'x'"):
        find_labels(read_annotations(path))


def test_targets_hold_from_start_until_before_the_end():
    notes = [
        Annotation(label="work", kind=Kind.PHASE, start_seconds=0.1, end_seconds=0.3),
        Annotation(label="lamp", kind=Kind.ACTION, start_seconds=0.2, end_seconds=0.4),
    ]
    pts = np.array([0.0, 0.1, 0.2, 0.3, 0.4])
    phases, actions = Labels(("rest", "work"), ("door", "lamp")).targets(notes, pts)
    assert phases.tolist() == [-1, 1, 1, -1, -1]
    assert actions[:, 1].tolist() == [0, 0, 1, 1, 0]
    assert not actions[:, 0].any()
    phases, _ = Labels(("work", BACKGROUND), ("lamp",)).targets(notes, pts)
    assert phases.tolist() == [1, 0, 0, 1, 1]
