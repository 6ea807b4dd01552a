"""The hand-written loop to compare with: one process, a thread per camera, one batching thread.

No state that survives, no log, no events, no metrics: the least that could be called a pipeline.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import av
import numpy as np

from benchmarks.cameras import FPS
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_temporal_model
from streamer.sources.convert import Converter

if TYPE_CHECKING:
    from streamer.models.bundle import Bundle


@dataclass(slots=True)
class LoopResult:
    """What the loop did.

    Attributes:
        cpu_ms: CPU milliseconds per analysed frame, whole process.
        frames_per_second: Of all cameras.
        frames: Analysed.
        dropped: Overwritten before they were encoded.
        ages: Seconds from the decoded frame to its outputs.
    """

    cpu_ms: float = 0.0
    frames_per_second: float = 0.0
    frames: int = 0
    dropped: int = 0
    ages: list[float] = field(default_factory=list)


def run(url: str, *, cameras: int, seconds: float, bundle: Bundle) -> LoopResult:
    """Watch `cameras` connections to `url` for so long."""
    result = LoopResult()
    slots: dict[int, tuple[np.ndarray, float]] = {}
    ready = threading.Condition()
    stop = threading.Event()

    def camera(number: int) -> None:
        converter = Converter(bundle.preprocess)
        options = {"rtsp_transport": "tcp", "probesize": "32", "analyzeduration": "0"}
        with av.open(url, options=options) as container:
            container.streams.video[0].codec_context.thread_count = 1
            due = 0.0
            for picture in container.decode(video=0):
                if stop.is_set():
                    return
                at = float(picture.time or 0.0)
                if at + 0.5 / FPS < due:
                    continue
                due = max(due, at) + 1 / bundle.config.analysis_fps
                decoded_at = time.monotonic()
                image = converter.convert(picture)
                with ready:
                    result.dropped += number in slots
                    slots[number] = (image, decoded_at)
                    ready.notify()

    threads = [threading.Thread(target=camera, args=(n,), daemon=True) for n in range(cameras)]
    encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess, num_threads=2)
    model = open_temporal_model(bundle, rows=max(8, cameras))
    hidden = np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)
    cell = hidden.copy()
    features = np.zeros((model.rows, model.feature_dim), np.float32)
    for thread in threads:
        thread.start()
    _wait_for_all(slots, ready, cameras)
    result.dropped = 0
    begun, end = time.process_time(), time.monotonic() + seconds
    size = encoder.batch_policy.max_size
    while time.monotonic() < end:
        with ready:
            ready.wait_for(lambda: slots, 0.1)
            taken = [(n, *slots.pop(n)) for n in list(slots)[:size]]
        if not taken:
            continue
        features[[n for n, *_ in taken]] = encoder.encode(np.stack([i for _, i, _ in taken]))
        _, new_hidden, new_cell = model.step(features, hidden, cell)
        now = time.monotonic()
        for n, _, decoded_at in taken:
            hidden[:, n], cell[:, n] = new_hidden[:, n], new_cell[:, n]
            result.ages.append(now - decoded_at)
    result.frames = len(result.ages)
    result.frames_per_second = result.frames / seconds
    result.cpu_ms = (time.process_time() - begun) * 1e3 / max(1, result.frames)
    stop.set()
    for thread in threads:
        thread.join(2)
    return result


def _wait_for_all(
    slots: dict[int, tuple[np.ndarray, float]], ready: threading.Condition, cameras: int
) -> None:
    with ready:
        ready.wait_for(lambda: len(slots) == cameras, 30)
