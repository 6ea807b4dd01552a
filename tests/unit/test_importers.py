from __future__ import annotations

import copy

import numpy as np
import pytest

from streamer.core.errors import ConfigError
from streamer.training.annotations import Kind, Split
from streamer.training.annotations.formats import import_annotations
from streamer.training.annotations.imported import ImportOptions
from tests import exports
from tests.videos import make_clip


def take(name: str, path, **options):
    """Rows as (video, label, kind, start, end, track)."""
    imported = import_annotations(name, path, ImportOptions(**options))
    rows = [
        (
            row.video.name,
            row.annotation.label,
            row.annotation.kind.value,
            round(row.annotation.start_seconds, 4),
            round(row.annotation.end_seconds, 4),
            row.annotation.track,
        )
        for row in imported.rows
    ]
    return rows, imported


def test_label_studio_counts_frames_from_one_and_rectangles_until_they_end(tmp_path):
    path = exports.write_json(tmp_path / "export.json", exports.LABEL_STUDIO)
    rows, imported = take("label-studio", path, phases=("Wait",))
    assert rows == [
        ("clip.mp4", "Wait", "phase", 0.0, 1.0, "videoLabels"),
        ("clip.mp4", "Box", "action", 1.0, 2.0, "box"),
        ("clip.mp4", "Box", "action", 4.0, 10.0, "box"),
        ("clip.mp4", "Alarm", "action", 2.5, 3.5, "sound"),
    ]
    assert imported.rows[0].video.parent == tmp_path
    assert imported.remarks == ("tasks without an annotation, left out: 1",)


def test_label_studio_uploads_are_found_under_either_name(tmp_path):
    path = exports.write_json(tmp_path / "export.json", exports.LABEL_STUDIO)
    (tmp_path / "0123abcd-clip.mp4").touch()
    assert take("label-studio", path)[0][0][0] == "0123abcd-clip.mp4"


@pytest.mark.parametrize(
    "name", ["http://[::1/clip.mp4", "\u0000.mp4", "\ud800.mp4", "a" * 300 + ".mp4", "s3://", ".."]
)
def test_a_name_that_is_none_is_refused(tmp_path, name):
    tasks = copy.deepcopy(exports.LABEL_STUDIO[:1])
    tasks[0]["data"]["video"] = name
    with pytest.raises(ConfigError, match=r"export\.json"):
        take("label-studio", exports.write_json(tmp_path / "export.json", tasks))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("s3://bucket/day%201/clip.mp4", "clip.mp4"),
        ("/data/local-files/?d=day%201/clip.mp4", "clip.mp4"),
        ("C:\\videos\\clip.mp4", "clip.mp4"),
        ("clip", "clip.mp4"),
        ("other.mp4", "other.mp4"),
    ],
)
def test_a_video_is_found_whatever_the_tool_called_it(tmp_path, name, found):
    (tmp_path / "clip.mp4").touch()
    tasks = copy.deepcopy(exports.LABEL_STUDIO[:1])
    tasks[0]["data"]["video"] = name
    path = exports.write_json(tmp_path / "export.json", tasks)
    assert import_annotations("label-studio", path, ImportOptions()).rows[0].video == (
        tmp_path / found
    )


def test_label_studio_wants_a_rate_for_timelines_alone(tmp_path):
    tasks = copy.deepcopy(exports.LABEL_STUDIO[:1])
    del tasks[0]["annotations"][0]["result"][1]
    path = exports.write_json(tmp_path / "export.json", tasks)
    with pytest.raises(ConfigError, match="--fps"):
        take("label-studio", path)
    rows, _ = take("label-studio", path, fps=10)
    assert rows[0][3:5] == (0.0, 2.5)


def test_label_studio_takes_the_ground_truth_before_the_newest(tmp_path):
    tasks = copy.deepcopy(exports.LABEL_STUDIO[:1])
    (truth,) = tasks[0]["annotations"]
    newer = copy.deepcopy(truth)
    newer["updated_at"] = "2025-04-01"
    newer["result"][0]["value"]["timelinelabels"] = ["Newer"]
    cancelled = dict(copy.deepcopy(newer), was_cancelled=True, updated_at="2026-01-01")
    tasks[0]["annotations"] = [truth, newer, cancelled]
    path = exports.write_json(tmp_path / "export.json", tasks)
    assert take("label-studio", path)[0][0][1] == "Newer"
    truth["ground_truth"] = True
    exports.write_json(path, tasks)
    assert take("label-studio", path)[0][0][1] == "Wait"


def test_label_studio_refuses_json_min(tmp_path):
    path = exports.write_json(tmp_path / "min.json", [{"id": 1, "video": "a.mp4", "box": []}])
    with pytest.raises(ConfigError, match="not JSON-MIN"):
        take("label-studio", path)


CVAT_ROWS = [
    ("clip.mp4", "person", "action", 0.0, 0.4, "person 0"),
    ("clip.mp4", "person", "action", 0.8, 1.0, "person 0"),
    ("clip.mp4", "hand", "action", 0.2, 0.6, "hand 1"),
]


def test_cvat_takes_the_rate_of_the_video(tmp_path):
    (tmp_path / "annotations.xml").write_text(exports.CVAT)
    (tmp_path / "videos").mkdir()
    make_clip(tmp_path / "videos" / "clip.mp4", fps=25, frames=30)
    rows, _ = take("cvat", tmp_path, videos=tmp_path / "videos")
    assert rows == CVAT_ROWS


def test_cvat_wants_a_rate_where_the_video_is_not_at_hand(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text(exports.CVAT)
    with pytest.raises(ConfigError, match="--fps"):
        take("cvat", path)
    assert take("cvat", path, fps=25.0, phases=("hand",))[0][2][2] == "phase"


def test_cvat_for_images_is_refused(tmp_path):
    path = tmp_path / "annotations.xml"
    path.write_text("<annotations><version>1.1</version><image id='0' name='a.jpg'/></annotations>")
    with pytest.raises(ConfigError, match="for images"):
        take("cvat", path)


@pytest.mark.parametrize("name", ["cvat", "elan"])
def test_a_document_type_is_refused(tmp_path, name):
    text = exports.CVAT if name == "cvat" else exports.ELAN
    head, _, body = text.partition("\n")
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = tmp_path / "bomb.xml"
    path.write_text("\n".join((head, bomb, body)))
    with pytest.raises(ConfigError, match="document type"):
        take(name, path, fps=25.0)


def test_elan_takes_tiers_that_have_times(tmp_path):
    path = tmp_path / "a.eaf"
    path.write_text(exports.ELAN)
    rows, _ = take("elan", path, phases=("steps",))
    assert rows == [
        ("clip 1.mp4", "pour in", "phase", 0.0, 1.25, "steps"),
        ("clip 1.mp4", "stir", "phase", 1.25, 2.0, "steps"),
    ]
    assert take("elan", tmp_path, tiers=("steps", "hands"))[0][0][2] == "action"


@pytest.mark.parametrize(
    ("tier", "said"), [("gloss", "no times of its own"), ("feet", "steps, gloss, hands")]
)
def test_elan_names_the_tiers_it_has(tmp_path, tier, said):
    path = tmp_path / "a.eaf"
    path.write_text(exports.ELAN)
    with pytest.raises(ConfigError, match=said):
        take("elan", path, tiers=(tier,))


def test_elan_names_an_annotation_without_time(tmp_path):
    path = tmp_path / "a.eaf"
    path.write_text(exports.ELAN.replace('TIME_SLOT_REF2="ts4"', 'TIME_SLOT_REF2="ts5"'))
    with pytest.raises(ConfigError, match="annotation a2"):
        take("elan", path)


BORIS_ROWS = [
    ("clip.mp4", "peck", "action", 5.0, 5.25, ""),
    ("clip.mp4", "sit", "phase", 3.3, 7.75, "subject1"),
]


def test_a_boris_project_pairs_states_and_counts_on_over_its_files(tmp_path):
    path = exports.write_json(tmp_path / "p.boris", exports.BORIS)
    rows, imported = take("boris", path, phases=("posture",), point_seconds=0.25)
    assert rows == [*BORIS_ROWS, ("next.mp4", "sit", "phase", 1.0, 2.5, "subject1")]
    assert imported.remarks == (
        "observation 'live' is LIVE: left out",
        "moments without a length: 1, each lasts 0.25 s now",
    )


@pytest.mark.parametrize("text", [exports.BORIS_TABULAR_7, exports.BORIS_AGGREGATED])
def test_exported_boris_events_say_the_same(tmp_path, text):
    path = tmp_path / "events.csv"
    path.write_text(text)
    rows, _ = take("boris", path, phases=("posture",), point_seconds=0.25)
    assert sorted(rows, key=lambda row: row[1]) == BORIS_ROWS


def test_boris_names_a_state_that_does_not_stop(tmp_path):
    path = tmp_path / "events.tsv"
    path.write_text("".join(exports.BORIS_TABULAR_7.splitlines(keepends=True)[:-1]))
    with pytest.raises(ConfigError, match="line 8"):
        take("boris", path)
    project = copy.deepcopy(exports.BORIS)
    project["observations"]["observation #1"]["events"].pop()
    with pytest.raises(ConfigError, match=r"'sit' starts at 11 s and does not stop"):
        take("boris", exports.write_json(tmp_path / "p.boris", project))


def test_boris_refuses_an_offset_it_can_not_place(tmp_path):
    project = copy.deepcopy(exports.BORIS)
    project["observations"]["observation #1"]["time offset"] = 60.0
    with pytest.raises(ConfigError, match="time offset"):
        take("boris", exports.write_json(tmp_path / "p.boris", project))


def test_cholec80_phases_are_frames_and_tools_hold_a_second(tmp_path):
    rows, _ = take("cholec80", exports.write_cholec80(tmp_path / "c"))
    assert rows == [
        ("video01", "Preparation", "phase", 0.0, 1.2, "phase"),
        ("video01", "CalotTriangleDissection", "phase", 1.2, 2.0, "phase"),
        ("video01", "Grasper", "action", 0.0, 2.0, "tool"),
        ("video01", "Hook", "action", 1.0, 2.0, "tool"),
    ]
    (tmp_path / "c" / "videos" / "video01.mp4").touch()
    assert take("cholec80", tmp_path / "c")[0][0][0] == "video01.mp4"


@pytest.mark.parametrize("row", ["x\tPreparation", "3", "1\tPreparation"])
def test_cholec80_names_a_wrong_row(tmp_path, row):
    folder = exports.write_cholec80(tmp_path / "c")
    with (folder / "phase_annotations" / "video01-phase.txt").open("a") as file:
        file.write(f"{row}\n")
    with pytest.raises(ConfigError, match=r"video01-phase\.txt, line 52"):
        take("cholec80", folder)


def test_activitynet_keeps_subsets_and_finds_both_names(tmp_path):
    path = exports.write_json(tmp_path / "activity_net.v1-3.min.json", exports.ACTIVITYNET)
    (tmp_path / "v_o1WPnnvs00I.mp4").touch()
    rows, imported = take("activitynet", path)
    assert rows == [
        ("v_o1WPnnvs00I.mp4", "Drinking coffee", "action", 0.5, 10.25, ""),
        ("_x-YZ", "Skiing", "action", 1.0, 2.0, ""),
    ]
    assert [row.split for row in imported.rows] == [Split.TRAIN, Split.VALIDATION]
    assert len(imported.remarks) == 2


def test_ms_tcn_gives_stretches_splits_and_feature_files(tmp_path):
    folder = exports.write_ms_tcn(tmp_path / "salads", videos=3, frames=45)
    rows, imported = take("ms-tcn", folder, fps=15.0)
    assert len(rows) == 9
    assert rows[0] == ("rgb-00-1.npy", "pour", "phase", 0.0, 1.0, "")
    assert {row.annotation.kind for row in imported.rows} == {Kind.PHASE}
    splits = {row.video.stem: row.split for row in imported.rows}
    assert splits == {
        "rgb-00-1": Split.TRAIN,
        "rgb-01-1": Split.TRAIN,
        "rgb-02-1": Split.TEST,
    }
    assert (imported.features_fps, imported.feature_dim) == (15.0, 6)


def test_ms_tcn_refuses_what_does_not_fit(tmp_path):
    folder = exports.write_ms_tcn(tmp_path / "salads", videos=3, frames=45)
    with pytest.raises(ConfigError, match="--fps"):
        take("ms-tcn", folder)
    one = folder / "features" / "rgb-01-1.npy"
    np.save(one, np.zeros((7, 45), np.float32))
    with pytest.raises(ConfigError, match="expected 6 features"):
        take("ms-tcn", folder, fps=15.0)
    np.save(one, np.zeros((45, 6), np.float32))
    with pytest.raises(ConfigError, match=r"rgb-01-1\.txt: expected as many labels"):
        take("ms-tcn", folder, fps=15.0)
    np.save(one, np.zeros((6, 45), object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"rgb-01-1\.npy"):
        take("ms-tcn", folder, fps=15.0)
    np.save(one, np.zeros((6, 45), np.float32))
    with (folder / "groundTruth" / "rgb-01-1.txt").open("a") as file:
        file.write("fry\n")
    with pytest.raises(ConfigError, match=r"line 46: .* found 'fry'"):
        take("ms-tcn", folder, fps=15.0)


def test_an_unknown_format_is_answered_with_the_known(tmp_path):
    with pytest.raises(ConfigError, match="activitynet, boris, cholec80, cvat, elan"):
        take("coco", tmp_path)
    with pytest.raises(ConfigError, match="found none"):
        take("elan", tmp_path / "gone.eaf")
