"""Small exports of annotation tools, written as the tools write them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

LABEL_STUDIO = [
    {
        "id": 7,
        "annotations": [
            {
                "id": 3,
                "completed_by": 1,
                "was_cancelled": False,
                "ground_truth": False,
                "updated_at": "2025-03-01T10:00:00.000000Z",
                "lead_time": 12.5,
                "result": [
                    {
                        "value": {
                            "ranges": [{"start": 1, "end": 25}],
                            "timelinelabels": ["Wait"],
                        },
                        "id": "aB3",
                        "from_name": "videoLabels",
                        "to_name": "video",
                        "type": "timelinelabels",
                        "origin": "manual",
                    },
                    {
                        "value": {
                            "framesCount": 250,
                            "duration": 10.0,
                            "sequence": [
                                {"frame": 26, "enabled": True, "x": 1, "y": 2, "time": 1.04},
                                {"frame": 50, "enabled": False, "x": 1, "y": 2, "time": 2.0},
                                {"frame": 101, "enabled": True, "x": 1, "y": 2, "time": 4.04},
                            ],
                            "labels": ["Box"],
                        },
                        "id": "cD4",
                        "from_name": "box",
                        "to_name": "video",
                        "type": "videorectangle",
                    },
                    {
                        "value": {"start": 2.5, "end": 3.5, "channel": 0, "labels": ["Alarm"]},
                        "id": "eF5",
                        "from_name": "sound",
                        "to_name": "audio",
                        "type": "labels",
                        "original_length": 10.0,
                    },
                    {
                        "value": {"choices": ["good"]},
                        "id": "gH6",
                        "from_name": "quality",
                        "to_name": "video",
                        "type": "choices",
                    },
                ],
            }
        ],
        "file_upload": "0123abcd-clip.mp4",
        "data": {"video": "/data/upload/1/0123abcd-clip.mp4"},
        "meta": {},
        "project": 1,
    },
    {"id": 8, "annotations": [], "data": {"video": "/data/upload/1/0123abce-other.mp4"}},
]

CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta>
    <task>
      <id>5</id>
      <name>interpolation</name>
      <size>50</size>
      <mode>interpolation</mode>
      <overlap>5</overlap>
      <start_frame>0</start_frame>
      <stop_frame>49</stop_frame>
      <frame_filter></frame_filter>
      <labels>
        <label><name>person</name><type>any</type><attributes></attributes></label>
      </labels>
      <original_size><width>192</width><height>128</height></original_size>
      <source>clip.mp4</source>
    </task>
    <dumped>2025-01-01 10:00:00.000000+00:00</dumped>
  </meta>
  <track id="0" label="person" source="manual">
    <box frame="0" keyframe="1" outside="0" occluded="0"
      xtl="1" ytl="1" xbr="9" ybr="9" z_order="0">
    </box>
    <box frame="1" keyframe="0" outside="0" occluded="0"
      xtl="1" ytl="1" xbr="9" ybr="9" z_order="0">
    </box>
    <box frame="10" keyframe="1" outside="1" occluded="0"
      xtl="1" ytl="1" xbr="9" ybr="9" z_order="0">
    </box>
    <box frame="20" keyframe="1" outside="0" occluded="0"
      xtl="1" ytl="1" xbr="9" ybr="9" z_order="0">
    </box>
    <box frame="24" keyframe="1" outside="0" occluded="0"
      xtl="1" ytl="1" xbr="9" ybr="9" z_order="0">
    </box>
  </track>
  <track id="1" label="hand" source="manual">
    <skeleton frame="5" keyframe="1" z_order="0">
      <points label="1" keyframe="1" outside="0" occluded="0" points="1.00,2.00"></points>
    </skeleton>
    <skeleton frame="15" keyframe="1" z_order="0">
      <points label="1" keyframe="1" outside="1" occluded="0" points="1.00,2.00"></points>
    </skeleton>
  </track>
</annotations>
"""

ELAN = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT AUTHOR="" DATE="2025-01-01T10:00:00+01:00" FORMAT="3.0" VERSION="3.0"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">
    <HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/me/clip%201.wav" MIME_TYPE="audio/x-wav"
            RELATIVE_MEDIA_URL="./clip%201.wav"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/Users/me/clip%201.mp4" MIME_TYPE="video/mp4"
            RELATIVE_MEDIA_URL="./clip%201.mp4"/>
        <PROPERTY NAME="lastUsedAnnotationId">3</PROPERTY>
    </HEADER>
    <TIME_ORDER>
        <TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="0"/>
        <TIME_SLOT TIME_SLOT_ID="ts2" TIME_VALUE="1250"/>
        <TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="1250"/>
        <TIME_SLOT TIME_SLOT_ID="ts4" TIME_VALUE="2000"/>
        <TIME_SLOT TIME_SLOT_ID="ts5"/>
    </TIME_ORDER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="steps">
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
                <ANNOTATION_VALUE>pour  in</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
        <ANNOTATION>
            <ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts3" TIME_SLOT_REF2="ts4">
                <ANNOTATION_VALUE>stir</ANNOTATION_VALUE>
            </ALIGNABLE_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="gloss-lt" PARENT_REF="steps" TIER_ID="gloss">
        <ANNOTATION>
            <REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1">
                <ANNOTATION_VALUE>verser</ANNOTATION_VALUE>
            </REF_ANNOTATION>
        </ANNOTATION>
    </TIER>
    <TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID="hands"/>
    <LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt"
        TIME_ALIGNABLE="true"/>
</ANNOTATION_DOCUMENT>
"""

BORIS = {
    "time_format": "hh:mm:ss",
    "project_name": "test",
    "project_date": "2016-11-27T01:55:22",
    "project_format_version": "7.0",
    "subjects_conf": {"0": {"key": "1", "name": "subject1", "description": ""}},
    "behavioral_categories": ["posture"],
    "behaviors_conf": {
        "0": {"type": "Point event", "key": "p", "code": "peck", "category": "", "modifiers": {}},
        "1": {"type": "State event", "key": "s", "code": "sit", "category": "posture"},
    },
    "observations": {
        "observation #1": {
            "date": "2016-11-27T01:57:26",
            "file": {"1": ["/home/me/clip.mp4", "/home/me/next.mp4"], "2": []},
            "type": "MEDIA",
            "time offset": 0.0,
            "events": [
                [3.3, "subject1", "sit", "", ""],
                [5.0, "", "peck", "", "a comment"],
                [7.75, "subject1", "sit", "", ""],
                [11.0, "subject1", "sit", "", "", 25],
                [12.5, "subject1", "sit", "", "", 62],
            ],
            "media_info": {
                "length": {"/home/me/clip.mp4": 10.0, "/home/me/next.mp4": 10.0},
                "fps": {"/home/me/clip.mp4": 25.0, "/home/me/next.mp4": 25.0},
                "offset": {"1": 0.0, "2": 0.0},
            },
        },
        "live": {
            "file": [],
            "type": "LIVE",
            "time offset": 0.0,
            "events": [[1.0, "", "p", "", ""]],
        },
    },
}

BORIS_TABULAR_7 = (
    "Observation id\tobservation #1\t\t\t\t\t\t\t\n"
    "\t\t\t\t\t\t\t\t\n"
    "Media file(s)\t\t\t\t\t\t\t\t\n"
    "Player #1\tclip.mp4\t\t\t\t\t\t\t\n"
    "Time offset (s)\t0.0\t\t\t\t\t\t\t\n"
    "\t\t\t\t\t\t\t\t\n"
    "Time\tMedia file path\tTotal length\tFPS\tSubject\tBehavior\tBehavioral category\t"
    "Comment\tStatus\n"
    "3.300\tclip.mp4\t359.960\t25.0\tsubject1\tsit\tposture\t\tSTART\n"
    "5.000\tclip.mp4\t359.960\t25.0\t\tpeck\t\t\tPOINT\n"
    "7.750\tclip.mp4\t359.960\t25.0\tsubject1\tsit\tposture\t\tSTOP\n"
)

BORIS_AGGREGATED = (
    "Observation id,Observation date,Description,Observation type,Source,Time offset (s),"
    "Coding duration,Media duration (s),FPS (frame/s),Subject,"
    "Observation duration by subject by observation,Behavior,Behavioral category,Behavior type,"
    "Start (s),Stop (s),Duration (s),Media file name,Image index start,Image index stop,"
    "Image file path start,Image file path stop,Comment start,Comment stop\n"
    "one,2025-09-06 14:58:19,,Media file(s),player #1:clip.mp4,0.0,300.0,300.0,25.0,subject1,300.0,"
    "sit,posture,STATE,3.3,7.75,4.45,clip.mp4,82,193,,,,\n"
    "one,2025-09-06 14:58:19,,Media file(s),player #1:clip.mp4,0.0,300.0,300.0,25.0,"
    "No focal subject,300.0,peck,,POINT,5.0,5.0,0,clip.mp4,125,125,,,,\n"
)

ACTIVITYNET = {
    "version": "VERSION 1.3",
    "taxonomy": [{"parentName": "Root", "nodeName": "Drinking", "nodeId": 1, "parentId": 0}],
    "database": {
        "o1WPnnvs00I": {
            "duration": 23.86,
            "subset": "training",
            "resolution": "1280x720",
            "url": "https://www.youtube.com/watch?v=o1WPnnvs00I",
            "annotations": [
                {"segment": [0.5, 10.25], "label": "Drinking coffee"},
                {"segment": [11, 11], "label": "Drinking coffee"},
            ],
        },
        "_x-YZ": {
            "duration": 9.5,
            "subset": "validation",
            "annotations": [{"segment": [1, 2], "label": "Skiing"}],
        },
        "sJULzNYnXXX": {"duration": 5.0, "subset": "testing", "annotations": []},
    },
}


def write_cholec80(folder: Path) -> Path:
    """Two seconds of one video: a row per frame, tools once a second."""
    for name in ("phase_annotations", "tool_annotations", "videos"):
        (folder / name).mkdir(parents=True)
    phases = ["Preparation"] * 30 + ["CalotTriangleDissection"] * 20
    rows = [f"{frame}\t{phase}" for frame, phase in enumerate(phases)]
    (folder / "phase_annotations" / "video01-phase.txt").write_text(
        "\n".join(["Frame\tPhase", *rows]) + "\n"
    )
    (folder / "tool_annotations" / "video01-tool.txt").write_text(
        "Frame\tGrasper\tBipolar\tHook\tScissors\tClipper\tIrrigator\tSpecimenBag\n"
        "0\t1\t0\t0\t0\t0\t0\t0\n25\t1\t0\t1\t0\t0\t0\t0\n"
    )
    return folder


def write_ms_tcn(folder: Path, *, videos: int = 6, frames: int = 90, dim: int = 6) -> Path:
    """Three classes in turn, told by the features."""
    for name in ("groundTruth", "features", "splits"):
        (folder / name).mkdir(parents=True)
    classes = ("pour", "stir", "background")
    (folder / "mapping.txt").write_text("".join(f"{k} {c}\n" for k, c in enumerate(classes)))
    random = np.random.default_rng(0)
    names = [f"rgb-{index:02d}-1.txt" for index in range(videos)]
    for name in names:
        labels = np.repeat(np.arange(frames) % 3, 15)[:frames]
        features_DT = random.normal(size=(dim, frames)) + 4 * np.eye(dim)[:3][labels].T
        np.save(folder / "features" / name.replace("txt", "npy"), features_DT.astype(np.float32))
        text = "".join(f"{classes[label]}\n" for label in labels)
        (folder / "groundTruth" / name).write_text(text)
    for part, chosen in (("train", names[:-1]), ("test", names[-1:])):
        text = "".join(f"{name}\n" for name in chosen)
        (folder / "splits" / f"{part}.split1.bundle").write_text(text)
    return folder


def write_json(path: Path, content: object) -> Path:
    """Write JSON."""
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path
