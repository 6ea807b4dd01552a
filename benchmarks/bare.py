"""The bare parts: what each library call costs alone, in one thread, without any of our plumbing.

CPU milliseconds per analysed frame, all cores working: 25 / 10 decoded frames, one resize, one
picture encoded, one step of the temporal model. The floor that the pipeline is compared with.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from multiprocessing import get_context
from statistics import fmean

import av
import numpy as np

from benchmarks.cameras import FPS
from streamer.models.bundle import Bundle
from streamer.models.encoders.registry import open_encoder
from streamer.models.temporal.registry import open_temporal_model
from streamer.sources.convert import Converter

RTSP_SECONDS = 8.0
ENCODED_FRAMES = 300
STEPS = 1000


@dataclass(frozen=True, slots=True)
class BareParts:
    """CPU milliseconds per analysed frame."""

    receive_and_decode_ms: float
    resize_ms: float
    encode_ms: float
    step_ms: float

    @property
    def total_ms(self) -> float:
        """All of them."""
        return self.receive_and_decode_ms + self.resize_ms + self.encode_ms + self.step_ms


def measure_on_all_cores(url: str, *, bundle: str) -> BareParts:
    """Measure on every core at once, as the pipeline uses them; the mean of the cores.

    A core is slower while its neighbours work. Bare parts measured on an idle machine would make
    any pipeline look wasteful.
    """
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        parts = list(pool.map(_measure_bundle, [url] * cores, [bundle] * cores))
    return mean(*parts)


def mean(*measured: BareParts) -> BareParts:
    """The mean of several measurements."""
    return BareParts(*(fmean(values) for values in zip(*map(astuple, measured), strict=True)))


def _measure_bundle(url: str, bundle: str) -> BareParts:
    return measure(url, bundle=Bundle.load(bundle))


def measure(url: str, *, bundle: Bundle) -> BareParts:
    """Measure each part by itself.

    Args:
        url: An RTSP camera.
        bundle: Names encoder and model.
    """
    decode_ms, pictures = _decode(url)
    per_analysed = FPS / bundle.config.analysis_fps
    converter = Converter(bundle.preprocess)
    resize_ms = _cpu_ms(lambda i: converter.convert(pictures[i % len(pictures)]), ENCODED_FRAMES)
    images = [converter.convert(picture)[None] for picture in pictures]
    encoder = open_encoder(bundle.config.encoder, preprocess=bundle.preprocess)
    encoder.encode(images[0])
    encode_ms = _cpu_ms(lambda i: encoder.encode(images[i % len(images)]), ENCODED_FRAMES)
    encoder.close()
    model = open_temporal_model(bundle)
    features = np.zeros((model.rows, model.feature_dim), np.float32)
    state = np.zeros((model.num_layers, model.rows, model.hidden_dim), np.float32)
    step_ms = _cpu_ms(lambda _: model.step(features, state, state), STEPS)
    model.close()
    return BareParts(decode_ms * per_analysed, resize_ms, encode_ms, step_ms)


def _decode(url: str) -> tuple[float, list[av.VideoFrame]]:
    """CPU milliseconds per decoded frame of one RTSP camera, and some of its pictures."""
    options = {"rtsp_transport": "tcp", "probesize": "32", "analyzeduration": "0"}
    pictures: list[av.VideoFrame] = []
    count = 0
    with av.open(url, options=options) as container:
        container.streams.video[0].codec_context.thread_count = 1
        begun = time.process_time()
        end = time.monotonic() + RTSP_SECONDS
        for picture in container.decode(video=0):
            count += 1
            if count % 10 == 0:
                pictures.append(picture)
            if time.monotonic() > end:
                break
        spent = time.process_time() - begun
    return spent * 1e3 / count, pictures


def _cpu_ms(call: object, times: int) -> float:
    """Median of five runs: this machine is shared."""
    assert callable(call)
    runs = []
    for _ in range(5):
        begun = time.process_time()
        for i in range(times // 5):
            call(i)
        runs.append((time.process_time() - begun) * 1e3 / (times // 5))
    return sorted(runs)[2]
