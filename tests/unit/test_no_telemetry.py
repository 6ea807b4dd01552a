"""Nothing is reported to the makers of libraries."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTLES_SECONDS = 30


@pytest.fixture
def traces(tmp_path):
    """Run an import in a home of its own; what onnxruntime's telemetry has left there."""

    def run(code: str) -> list[str]:
        home = tmp_path / "home"
        home.mkdir()
        # onnxruntime is quiet by itself where it sees a CI system.
        kept = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        subprocess.run(
            [sys.executable, "-c", code],
            env={**environment, "HOME": str(home)},
            cwd=Path(__file__).parents[2],
            check=True,
            timeout=SETTLES_SECONDS,
        )
        return sorted(path.name for path in home.rglob("*") if path.is_file())

    return run


@pytest.mark.parametrize(
    "code",
    [
        "import streamer.models.encoders.session",
        "import streamer.models.temporal.onnx",
        "from streamer.cli.doctor import _onnxruntime; list(_onnxruntime())",
    ],
)
def test_onnxruntime_is_told_to_report_nothing(traces, code):
    assert traces(code) == []


def test_without_being_told_it_does(traces):
    assert "deviceid" in traces("import onnxruntime")
