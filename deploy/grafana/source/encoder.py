"""Does the encoder keep up, and what does the GPU do?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board, instance_variable
from deploy.grafana.source.panels import (
    Query,
    heat,
    lines,
)
from deploy.grafana.source.tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

MINE = 'role="encoder", instance=~"$instance"'


def _stage(stage: str, quantile: float) -> str:
    which = f'{{{MINE}, stage="{stage}"}}[$__rate_interval]'
    rate = f"sum by (le) (rate(streamer_stage_seconds_bucket{which}))"
    return f"histogram_quantile({quantile}, {rate})"


def _queue() -> Sequence[Builder[Panel]]:
    """What waits for the encoder, and what it loses."""
    return [
        lines(
            "Frames encoded",
            "By each encoder worker.",
            Query(
                f'sum by (instance) (rate(streamer_frames_total{{{MINE}, step="encoded"}}'
                "[$__rate_interval]))",
                "{{instance}}",
            ),
            unit="fps",
        ),
        lines(
            "Frames waiting",
            "In the frame path, not yet encoded. Rising: the encoder is too slow; live cameras "
            "then lose their oldest frames.",
            Query(f"streamer_frames_waiting{{{MINE}}}", "{{instance}}"),
            unit="short",
            runbooks=["FramesDropped"],
        ),
        lines(
            "Age of the oldest waiting frame",
            "Beyond `encoder.frame_deadline_seconds` (1 s) a live frame is dropped.",
            Query(f"streamer_frames_oldest_seconds{{{MINE}}}", "{{instance}}"),
            unit="s",
            steps=((None, "green"), (1, "red")),
            runbooks=["FramesDropped"],
        ),
        lines(
            "Dropped frames by reason",
            "overwritten, late: too slow. refused, abandoned: a stream changed hands. lost: Redis "
            "lost it. send_full: ingest could not hand it on.",
            Query(
                "sum by (reason) (rate(streamer_frames_dropped_total[$__rate_interval]))",
                "{{reason}}",
            ),
            unit="fps",
            stacked=True,
            runbooks=["FramesDropped"],
        ),
    ]


def _batches() -> Sequence[Builder[Panel]]:
    """How it works."""
    return [
        heat(
            "Batch size",
            "Frames per call of the model. Larger under load; always 1: there is time to spare.",
            f"streamer_batch_size{{{MINE}}}",
            unit="short",
        ),
        lines(
            "Time of a frame in the encoder",
            "frame_wait: until its batch begins. encode: the model. publish: writing the features.",
            Query(_stage("frame_wait", 0.95), "frame_wait p95"),
            Query(_stage("encode", 0.5), "encode p50"),
            Query(_stage("encode", 0.95), "encode p95"),
            Query(_stage("publish", 0.95), "publish p95"),
            unit="s",
        ),
        rows(
            "Encoders",
            "Which model runs where.",
            [
                Column("instance"),
                Column(
                    "",
                    "max by (instance, encoder, backend, device) "
                    f"(streamer_encoder_info{{{MINE}}})",
                ),
                Column("encoder"),
                Column("backend"),
                Column("device"),
            ],
            by="instance",
            width=12,
        ),
        lines(
            "Refused and sent again",
            "Writes that the input log refused, by answer, and entries sent again after Redis had "
            "lost them.",
            Query(
                f"sum by (answer) (rate(streamer_refused_total{{{MINE}}}[$__rate_interval]))",
                "{{answer}}",
            ),
            Query(
                f"sum(rate(streamer_features_resent_total{{{MINE}}}[$__rate_interval]))", "again"
            ),
            unit="ops",
        ),
    ]


def _gpu() -> Sequence[Builder[Panel]]:
    """The device."""
    return [
        lines(
            "GPU utilisation",
            "Share of time in which a kernel ran, from NVIDIA's DCGM exporter (compose profile "
            "`gpu`). Empty without a GPU.",
            Query("DCGM_FI_DEV_GPU_UTIL", "GPU {{gpu}}"),
            unit="percent",
            width=8,
        ),
        lines(
            "GPU memory",
            "Used on the device, by all processes.",
            Query("DCGM_FI_DEV_FB_USED * 2^20", "GPU {{gpu}}"),
            unit="bytes",
            width=8,
        ),
        lines(
            "Temperature and power",
            "A hot device lowers its clock.",
            Query("DCGM_FI_DEV_GPU_TEMP", "GPU {{gpu}}, °C"),
            Query("DCGM_FI_DEV_POWER_USAGE", "GPU {{gpu}}, W"),
            unit="short",
            width=8,
        ),
        lines(
            "Memory of the encoder's allocator",
            "With the torch backend on CUDA: in use, and kept for reuse.",
            Query(f"streamer_gpu_memory_bytes{{{MINE}}}", "{{device}} {{kind}}"),
            unit="bytes",
        ),
    ]


def dashboard() -> Dashboard:
    """Queue, batches, durations, what was lost, GPUs."""
    return board(
        "streamer-encoder",
        "streamer / Encoder and GPU",
        "Does the encoder keep up, and what does the GPU do?",
        [("Queue", _queue()), ("Batches", _batches()), ("GPU", _gpu())],
        variables=[instance_variable("encoder")],
    )
