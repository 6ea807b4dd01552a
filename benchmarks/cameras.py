"""RTSP cameras to measure with: one encoded clip, re-sent by GStreamer to any number of clients."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.sources.recording import record

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER = Path(__file__).parent.parent / "tests" / "rtsp_server.py"
FPS = 25.0
SIZE = (640, 360)


def make_clip(folder: Path, *, seconds: float) -> Path:
    """A work cell at 640x360 and 25 frames a second, H.264."""
    clip = folder / "camera.mp4"
    record(clip, seconds=seconds, seed=77, fps=FPS, width=SIZE[0], height=SIZE[1])
    return clip


@contextlib.contextmanager
def rtsp_server(clip: Path) -> Iterator[str]:
    """Serve the clip; gives its URL. Every client sees it from its start."""
    process = subprocess.Popen(
        ["/usr/bin/python3", str(SERVER), f"--mount=camera={clip}"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        port = json.loads(process.stdout.readline())["port"]
        yield f"rtsp://127.0.0.1:{port}/camera"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
