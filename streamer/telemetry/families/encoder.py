"""Families of the encoder worker."""

from __future__ import annotations

from streamer.telemetry.families.every import STREAM
from streamer.telemetry.families.family import Family, Kind, Level, Role

_ROLES = (Role.ENCODER,)

RESENT = Family(
    name="streamer_features_resent_total",
    kind=Kind.COUNTER,
    meaning="Entries of the input log sent again after Redis had lost them.",
    roles=_ROLES,
    labels={"stream": STREAM},
    level=Level.DETAIL,
)
FRAMES_WAITING = Family(
    name="streamer_frames_waiting",
    kind=Kind.GAUGE,
    meaning="Entries of the frame path that are not encoded yet: frames, and a few notes about "
    "cameras. Measured every few seconds; NaN while Redis does not answer.",
    roles=_ROLES,
)
FRAMES_OLDEST = Family(
    name="streamer_frames_oldest_seconds",
    kind=Kind.GAUGE,
    meaning="Age of the oldest of them, since its pixels were ready; 0 if there is none. Of "
    "another host's: since it was first seen here.",
    roles=_ROLES,
)
BATCH_SIZE = Family(
    name="streamer_batch_size",
    kind=Kind.HISTOGRAM,
    meaning="Frames of a batch.",
    roles=_ROLES,
)
ENCODER_INFO = Family(
    name="streamer_encoder_info",
    kind=Kind.GAUGE,
    meaning="1, with the encoder that runs.",
    roles=_ROLES,
    labels={
        "encoder": "its name",
        "backend": "`onnx`, `torch`",
        "device": "`cpu`, `cuda:0` and so on",
    },
)
GPU_MEMORY = Family(
    name="streamer_gpu_memory_bytes",
    kind=Kind.GAUGE,
    meaning="GPU memory of this process, as torch's allocator has it. No series on a CPU, nor for "
    "other backends.",
    roles=_ROLES,
    labels={"device": "`cuda:0` and so on", "kind": "`allocated`, `reserved`"},
)

FAMILIES = (RESENT, FRAMES_WAITING, FRAMES_OLDEST, BATCH_SIZE, ENCODER_INFO, GPU_MEMORY)
