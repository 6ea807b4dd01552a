"""`streamer fit --self-supervised` on a rendered scene, and the bundle in use."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streamer import Pipeline
from streamer.cli.app import app
from streamer.core.errors import ConfigError, SourceError
from streamer.core.event import EventType
from streamer.models.bundle import Bundle

pytestmark = [pytest.mark.torch, pytest.mark.alone]
SCENE = "synthetic:workcell?seed=3&fps=1&width=64&height=48&realtime=false"


def fit(*arguments: str):
    return CliRunner().invoke(app, ["fit", *arguments])


def test_a_camera_is_learnt_and_watched(tmp_path):
    result = fit(
        *("--self-supervised", f"door={SCENE}", "--minutes", "10.5", "--analysis-fps", "1"),
        *("--updates", "20", "--hidden", "24", "--cell", "gru", "--out", str(tmp_path / "run")),
    )
    assert result.exit_code == 0, result.exception
    assert "recording door: 10.5 minutes" in result.stderr
    assert "recorded 630 frames" in result.stderr
    assert "## False alarms" in result.stdout
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert bundle.config.name == "door"
    assert bundle.config.architecture == "gru"
    assert bundle.config.num_classes == 0
    with Pipeline(f"{SCENE}&seconds=40", bundle=bundle.path) as pipeline:
        events = list(pipeline)
    kinds = {event.type for event in events}
    assert EventType.STREAM_STATUS in kinds
    assert kinds <= {EventType.STREAM_STATUS, EventType.ANOMALY_START, EventType.ANOMALY_END}
    starts = [
        e for e in events if e.type is EventType.ANOMALY_START and not e.data.segment.revision
    ]
    assert len(starts) == sum(event.type is EventType.ANOMALY_END for event in events)


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ([SCENE, "--minutes", "2"], ConfigError, r"at least 10.3 minutes.*found 2.0"),
        ([f"{SCENE}&seconds=3"], ConfigError, r"at least 10.3 minutes.*found 0.0"),
        (["synthetic:nowhere"], ConfigError, "no such scene"),
        (["missing.mp4"], SourceError, "missing.mp4"),
        ([SCENE, "--set", "noise=1"], ConfigError, "expected no --set with --self-supervised"),
        ([SCENE, "--videos", "labels.csv"], ConfigError, "expected one of --synthetic"),
    ],
)
def test_what_can_not_be_learnt_from_is_refused(tmp_path, arguments, error, told):
    result = fit("--out", str(tmp_path / "run"), "--self-supervised", *arguments)
    assert isinstance(result.exception, error)
    with pytest.raises(error, match=told):
        raise result.exception
    assert not (tmp_path / "run").exists()
