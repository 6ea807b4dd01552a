from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from streamer.cli.dataset import dataset_app
from streamer.core.errors import ConfigError
from streamer.training.checks.check import check_dataset, read_checked
from streamer.training.checks.finding import Severity
from streamer.training.feature_file import FeatureSet, write_feature_set
from streamer.training.timing import read_timing
from tests.videos import make_audio, make_clip

HEADING = "video,start,end,label,kind,track,split,source"


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Four clips of two seconds, all different; and one of variable rate."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(4):
        make_clip(folder / f"{index}.mp4", frames=50, fps=25, first_number=50 * index)
    odd = [index / 25 + (0.2 * (index // 10)) for index in range(40)]
    make_clip(folder / "odd.mp4", frames=40, pts_seconds=odd)
    make_audio(folder / "sound.m4a")
    (folder / "torn.mp4").write_bytes((folder / "0.mp4").read_bytes()[:900])
    (folder / "copy.mp4").write_bytes((folder / "0.mp4").read_bytes())
    return folder


GOOD = [
    f"{clip}.mp4,{start},{start + 0.4},{label},,,,"
    for clip in range(4)
    for start, label in ((0.0, "wait"), (0.5, "work"), (1.0, "wait"), (1.5, "work"))
]


def write(clips, *rows, good=GOOD):
    path = clips / "labels.csv"
    path.write_text("\n".join((HEADING, *good, *rows)) + "\n")
    return path


def found(path, **options):
    """(severity, code, line) of each finding."""
    return [(f.severity.value, f.code, f.line) for f in check_dataset(path, **options)]


def test_a_good_dataset_has_no_findings(clips):
    assert found(write(clips)) == []
    assert len(read_checked(write(clips), lambda progress: None)) == 4


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["0.mp4,x,1,wait,,,,"], ("error", "row", 18)),
        (["0.mp4,0,nan,wait,,,,"], ("error", "row", 18)),
        (["0.mp4,0,1,wait,,,later,"], ("error", "row", 18)),
        (["0.mp4,0.2,0.3,work,,,,"], ("error", "phases-overlap", 18)),
        (["0.mp4,1.95,2.6,work,,,,"], ("error", "beyond-end", 18)),
        (["gone.mp4,0,1,wait,,,,"], ("error", "unreadable", 18)),
        (["torn.mp4,0,1,wait,,,,"], ("error", "unreadable", 18)),
        (["sound.m4a,0,1,wait,,,,"], ("error", "unreadable", 18)),
        (["labels.csv,0,1,wait,,,,"], ("error", "unreadable", 18)),
        (["0.mp4,0,1,wait,action,,,"], ("error", "two-kinds", 18)),
        (["0.mp4,1.95,2,wait,,,train,"], ("error", "split-unclear", 18)),
        (["0.mp4,1.95,2,wait,,,,else"], ("error", "split-unclear", 18)),
        (["copy.mp4,0,1.9,wait,,,,"], ("error", "split-leak", 18)),
        (["odd.mp4,0,2,wait,,,,"], ("warning", "variable-rate", 18)),
        (["odd.mp4,0,0.4,wait,,,,"], ("warning", "length", 18)),
        (["0.mp4,1.95,2,Work,,,,"], ("warning", "unknown-label", 18)),
        (["0.mp4,1.95,2,rare,,,,"], ("warning", "imbalance", 18)),
        (
            ["0.mp4,0,1,lamp,action,a,,", "0.mp4,0.5,1,lamp,action,a,,"],
            ("warning", "actions-overlap", 19),
        ),
    ],
)
def test_each_finding_names_its_row(clips, rows, expected):
    assert expected in found(write(clips, *rows))


def test_what_overlaps_on_purpose_is_no_finding(clips):
    rows = [f"0.mp4,{start},1,lamp,action,{track},," for track, start in (("a", 0), ("b", 0.5))]
    codes = {code for _, code, _ in found(write(clips, *rows))}
    assert codes == {"imbalance"}


def test_a_phase_inside_a_long_one_overlaps_even_after_another(clips):
    rows = ["odd.mp4,0,2,wait,,,,", "odd.mp4,0.5,0.6,work,,,,", "odd.mp4,1,1.1,work,,,,"]
    lines = [line for _, code, line in found(write(clips, *rows)) if code == "phases-overlap"]
    assert lines == [19, 20]


def test_known_labels_are_all_there_is(clips):
    path = write(clips, "0.mp4,1.95,2,wrok,,,,")
    findings = check_dataset(path, known_labels=["wait", "work", "weld"])
    assert [(f.code, f.line) for f in findings[:2]] == [("unknown-label", 18), ("empty-class", 0)]
    assert findings[0].advice == "did you mean 'work'?"


def split_rows(*splits, sources=("", "", "", "")):
    return [row.replace(",,,,", f",,,{splits[int(row[0])]},{sources[int(row[0])]}") for row in GOOD]


def test_a_source_in_two_parts_leaks(clips):
    rows = split_rows("train", "train", "validation", "test", sources=("a", "b", "b", "c"))
    path = write(clips, good=rows)
    assert found(path) == [("error", "split-leak", 10)]
    rows = split_rows("train", "train", "validation", "test", sources=("a", "a", "b", "c"))
    assert found(write(clips, good=rows)) == []


def test_a_class_that_training_never_sees_is_empty(clips):
    rows = split_rows("train", "train", "validation", "test")
    path = write(clips, "3.mp4,1.9,2,weld,,,test,", good=rows)
    assert ("error", "empty-class", 18) in found(path)


def test_two_videos_are_too_few_and_so_are_two_sources(clips):
    assert ("error", "too-few", 0) in found(write(clips, good=GOOD[:8]))
    rows = split_rows("", "", "", "", sources=("a", "a", "b", "b"))
    assert ("error", "too-few", 0) in found(write(clips, good=rows))


def test_a_split_needs_something_to_train_on_and_to_deal_out(clips):
    rows = split_rows("train", "validation", "test", "test")
    assert "too-few" not in {code for _, code, _ in found(write(clips, good=rows))}
    rows = split_rows("train", "test", "test", "test")
    assert ("error", "too-few", 0) in found(write(clips, good=rows))
    rows = split_rows("test", "test", "test", "validation")
    assert ("error", "too-few", 0) in found(write(clips, good=rows))
    assert found(write(clips, good=rows), for_training=False) == []


def test_training_is_refused_with_file_and_row(clips):
    path = write(clips, "0.mp4,1.95,9,work,,,,", "gone.mp4,0,1,wait,,,,")
    with pytest.raises(ConfigError, match=r"labels\.csv, line 18: .*1 more: streamer dataset"):
        read_checked(path, lambda progress: None)


def feature_table(folder, features_DT):
    write_feature_set(folder / "f.csv", FeatureSet(name="f", feature_dim=3, fps=10.0))
    rows = []
    for index in range(3):
        np.save(folder / f"{index}.npy", features_DT if index == 2 else np.full((3, 20), index))
        rows += [f"{index}.npy,{k},{k + 0.5},{label},,,," for k, label in ((0, "a"), (1, "b"))]
    (folder / "f.csv").write_text("\n".join((HEADING, *rows)) + "\n")
    return folder / "f.csv"


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.full((3, 20), np.nan), "2.npy: frame 0"),
        (np.full((3, 20), 1e30), "found inf"),
        (np.ones((4, 20)), "expected 3 features"),
        (np.ones(20), "expected numbers (D, T)"),
        (np.ones((3, 9)), "expected labels within its 0.90 s"),
    ],
)
def test_features_that_can_not_be_trained_on_are_named(tmp_path, features, said):
    errors = [
        str(finding)
        for finding in check_dataset(feature_table(tmp_path, features))
        if finding.severity is Severity.ERROR
    ]
    assert len(errors) == 1
    assert said in errors[0]
    assert "f.csv, line " in errors[0]


def test_feature_files_need_a_description_and_no_videos_among_them(tmp_path):
    path = feature_table(tmp_path, np.full((3, 20), 2))
    assert not [f for f in check_dataset(path) if f.severity is Severity.ERROR]
    with path.open("a") as file:
        file.write("x.mp4,0,1,a,,,,\n")
    assert ("error", "unreadable", 8) in found(path)
    (tmp_path / "f.features.json").unlink()
    assert "f.features.json" in str(check_dataset(path)[0])


def test_timing_is_read_from_packets(clips):
    timing = read_timing(clips / "1.mp4")
    assert (timing.num_frames, timing.is_variable) == (50, False)
    assert timing.fps == pytest.approx(25)
    assert timing.duration_seconds == pytest.approx(2.0)
    odd = read_timing(clips / "odd.mp4")
    assert odd.is_variable
    assert odd.fps == pytest.approx(25)
    assert odd.longest_pause_seconds == pytest.approx(0.24)


@pytest.mark.parametrize("suffix", ["mkv", "ts", "avi"])
def test_rounded_timestamps_are_a_constant_rate(tmp_path, suffix):
    codec, pix_fmt = ("mjpeg", "yuvj420p") if suffix == "avi" else ("libx264", "yuv420p")
    pts = [round(index / 29.97, 3) for index in range(60)] if suffix == "mkv" else None
    path = make_clip(
        tmp_path / f"a.{suffix}",
        frames=60,
        fps=30,
        codec=codec,
        pix_fmt=pix_fmt,
        pts_seconds=pts,
    )
    timing = read_timing(path)
    assert not timing.is_variable
    assert timing.fps == pytest.approx(29.97 if pts else 30, rel=2e-3)


def run(*arguments):
    return CliRunner().invoke(dataset_app, [str(each) for each in arguments])


def test_check_prints_findings_and_says_by_its_exit_code_whether_to_train(clips):
    done = run("check", write(clips))
    assert (done.exit_code, done.output.splitlines()[-1][-2:]) == (0, "ok")
    done = run("check", write(clips, "odd.mp4,0,2,wait,,,,"))
    assert done.exit_code == 0
    assert "0 errors, 1 warning" in done.output
    done = run("check", write(clips, "gone.mp4,0,1,wait,,,,"), "--json")
    assert done.exit_code == 1
    (finding,) = json.loads(done.stdout)
    assert (finding["severity"], finding["code"], finding["line"]) == ("error", "unreadable", 18)
    assert finding["advice"]
