"""Settings of a run. From a TOML file, then `STREAMER_…` variables, then the command line."""

from __future__ import annotations

from ipaddress import ip_network
from itertools import pairwise
from math import isfinite
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

SourceKind = Literal["rtsp", "http", "hls", "synthetic", "device", "file"]
"""What a source is. `hls` is `http` whose playlist may name further addresses."""


STAGE_BUCKETS = (
    0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.06, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip
"""Seconds. From one step on an idle machine to a camera that has fallen behind."""

BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Frames. Backends take powers of two."""

DELAY_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Seconds of video. From one frame to a long look ahead."""

LATENCY_BUDGET_SECONDS = 0.25


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RedisSettings(_Section):
    """The data plane."""

    url: str = Field(
        "redis://127.0.0.1:6379",
        description="redis://, rediss://, unix://, redis+cluster:// or redis+sentinel:// URL.",
    )
    username: str | None = Field(
        None, description="User of the server; None: the one in the URL, or the default user."
    )
    password_file: str | None = Field(
        None,
        description="File whose first line is the user's password; read again at every connection.",
    )
    tls_ca: str | None = Field(
        None,
        description="PEM file with the authority that signed the server's certificate; "
        "None: the system's authorities.",
    )
    tls_certificate: str | None = Field(
        None, description="PEM file with our certificate, where the server wants one."
    )
    tls_key: str | None = Field(None, description="PEM file with that certificate's private key.")
    partitions: int = Field(1, ge=1, le=1024, description="P, fixed for the life of an install.")
    max_unread_entries: int = Field(
        3_000, ge=10, description="Feature entries per stream at which the log is full."
    )
    max_events: int = Field(
        100_000, ge=1_000, description="Events kept per partition: about 1 kB each."
    )
    event_seconds: float = Field(
        604_800.0, gt=0, description="Longest time an event is kept: a week."
    )
    max_dead_letters: int = Field(
        1_000, ge=1, description="Entries refused for good that are kept per partition."
    )
    replay_seconds: float = Field(
        60.0,
        ge=0,
        description="Features kept after they are folded in, for `streamer events replay`.",
    )


class IngestSettings(_Section):
    """Reading cameras."""

    analysis_fps: float | None = Field(
        None, gt=0, le=240, description="Frames per second to analyse; None: as the bundle says."
    )
    open_timeout_seconds: float = Field(10.0, gt=0, description="Deadline for opening a source.")
    frame_timeout_seconds: float = Field(5.0, gt=0, description="Longest time without a frame.")
    frame_path: Literal["shared_memory", "redis"] = Field(
        "shared_memory", description="How pixels reach the encoder; redis works across hosts."
    )
    frame_slots: int = Field(8, ge=2, le=256, description="Frames per camera that may wait.")
    lease_seconds: float = Field(
        5.0, ge=1, description="A worker silent for so long has lost its streams."
    )
    snapshots: int = Field(
        100,
        ge=0,
        le=100_000,
        description="Pictures of frames that decided kept per stream, about 10 kB each; 0: none.",
    )
    snapshot_seconds: float = Field(3_600.0, gt=0, description="Longest time they are kept.")
    recent_frames: int = Field(
        32,
        ge=1,
        le=1024,
        description="Analysed frames per camera remembered for that, 150 kB each.",
    )
    picture_side: int = Field(
        640, ge=64, le=4096, description="Longer side of a preview, in pixels."
    )


class EncoderSettings(_Section):
    """Turning frames into features."""

    name: str | None = Field(
        None, description="efficientnet_lite0, a .onnx file, torchvision:NAME; None: the bundle's."
    )
    device: str | None = Field(None, description="cpu, cuda, cuda:1; None: as the backend prefers.")
    threads: int = Field(1, ge=1, le=64, description="Threads of one session.")
    max_batch_size: int | None = Field(None, ge=1, le=1024, description="None: the backend's.")
    max_wait_seconds: float | None = Field(None, ge=0, le=1, description="None: the backend's.")
    frame_deadline_seconds: float = Field(
        1.0, gt=0, description="A live frame older than this is dropped, not encoded."
    )
    shard: int = Field(0, ge=0, description="Which share of the streams is mine, from 0.")
    shards: int = Field(1, ge=1, description="Into how many shares they are split.")
    resend_bytes: int = Field(
        64 * 2**20, ge=0, description="Features remembered in case Redis forgets them."
    )
    resend_seconds: float = Field(30.0, ge=0, description="How long they are remembered.")


class TemporalSettings(_Section):
    """Turning features into events."""

    backend: Literal["onnx", "torch"] = Field("onnx", description="What runs the model.")
    rows: int = Field(8, ge=1, le=1024, description="Streams per model call.")
    lease_seconds: float = Field(
        5.0, ge=1, description="A worker silent for so long has lost its partitions."
    )
    max_attempts: int = Field(
        3, ge=1, description="Crashes at the same entry after which it is left out."
    )


class GatewaySettings(_Section):
    """Serving events over HTTP."""

    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(8080, ge=0, le=65535, description="Port; 0: a free one.")
    host_names: tuple[str, ...] = Field(
        (),
        description="Names by which clients call it, as in the Host header; none: on a loopback "
        "address only loopback names, elsewhere any.",
    )
    tls_certificate: str | None = Field(
        None, description="PEM file with the certificate and its chain; None: no TLS."
    )
    tls_key: str | None = Field(None, description="PEM file with the certificate's private key.")
    token_file: str | None = Field(
        None,
        description="File with a token that has all rights, besides those that "
        "`streamer token create` makes; None: there is none.",
    )
    requests_per_minute: int = Field(1_200, ge=1, description="Of one token; beyond it: 429.")
    failures_per_minute: int = Field(
        60, ge=1, description="Requests without a valid token, of one address; beyond it: 429."
    )
    connections_per_token: int = Field(
        256, ge=1, description="Open event streams and video previews of one token."
    )
    max_body_bytes: int = Field(65_536, ge=1_024, description="Of a request; beyond it: 413.")
    max_header_bytes: int = Field(
        16_384, ge=1_024, description="Of a request, with its first line; beyond it: 431."
    )
    allow_sources: tuple[SourceKind, ...] = Field(
        ("rtsp", "http"), description="Kinds of sources that may be added over HTTP."
    )
    allow_networks: tuple[str, ...] = Field(
        ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
        description="Where sources added over HTTP may be. Loopback has to be listed; link-local "
        "and metadata addresses are never allowed.",
    )

    credentials_directory: str | None = Field(
        None,
        description="Folder in which sources added over HTTP may have credentials; None: nowhere.",
    )

    corrections: str = Field(
        "corrections.csv",
        min_length=1,
        description="File that labels corrected on the page are appended to.",
    )

    @field_validator("host_names", "allow_sources", "allow_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """On a command line: `a,b`."""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("allow_networks")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for network in networks:
            ip_network(network)
        return networks


class MetricsSettings(_Section):
    """Serving metrics and probes."""

    host: str = Field("127.0.0.1", description="Address to bind.")
    port: int = Field(0, ge=0, le=65535, description="Port; 0: a free one.")
    detail_series: int = Field(
        300,
        ge=0,
        description="Most series of one worker that are by stream, besides three per stream.",
    )
    stage_buckets: tuple[float, ...] = Field(
        STAGE_BUCKETS, description="Of the histograms of times: upper bounds in seconds."
    )
    batch_buckets: tuple[float, ...] = Field(
        BATCH_BUCKETS, description="Of the histogram of batches: upper bounds in frames."
    )
    delay_buckets: tuple[float, ...] = Field(
        DELAY_BUCKETS, description="Of the decision delay: upper bounds in seconds."
    )

    @field_validator("stage_buckets", "batch_buckets", "delay_buckets", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """On a command line: `0.1,0.5`."""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("stage_buckets", "batch_buckets", "delay_buckets")
    @classmethod
    def _are_buckets(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        increasing = all(low < high for low, high in pairwise(bounds))
        if not bounds or bounds[0] <= 0 or not increasing or not all(map(isfinite, bounds)):
            raise ValueError(
                "expected positive numbers, each larger than the one before, "
                f"found {', '.join(f'{bound:g}' for bound in bounds) or 'none'}"
            )
        return bounds


class TracingSettings(_Section):
    """Traces of sampled frames, for an OpenTelemetry collector. Needs the extra `otel`."""

    endpoint: str | None = Field(
        None,
        description="URL of an OTLP/HTTP receiver, for example http://127.0.0.1:4318; None: off.",
    )
    sample_every: int = Field(100, ge=1, description="Of each stream, one frame in so many.")
    timeout_seconds: float = Field(
        5.0, gt=0, le=60, description="Longest time for sending once, with retries."
    )
    service_name: str = Field(
        "streamer", min_length=1, description="The roles follow it: streamer-encoder."
    )
    headers_file: str | None = Field(
        None, description="File with lines `Name: value`, sent to the receiver; for its token."
    )
    tls_ca: str | None = Field(
        None, description="PEM file that the receiver's certificate is checked by."
    )


class LogSettings(_Section):
    """Logs, on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    json_lines: bool = Field(True, description="False: short lines for people.")


class Settings(_Section):
    """All settings."""

    bundle: str = Field("workcell", description="A shipped bundle's name, or a folder.")
    drain_seconds: float = Field(
        4.0, gt=0, description="From the stop signal to the exit: what is in flight is finished."
    )
    latency_budget_seconds: float = Field(
        LATENCY_BUDGET_SECONDS,
        gt=0,
        description="What the latency of events is held against, by metrics, alerts and the page.",
    )
    redis: RedisSettings = RedisSettings()
    ingest: IngestSettings = IngestSettings()
    encoder: EncoderSettings = EncoderSettings()
    temporal: TemporalSettings = TemporalSettings()
    gateway: GatewaySettings = GatewaySettings()
    metrics: MetricsSettings = MetricsSettings()
    tracing: TracingSettings = TracingSettings()
    log: LogSettings = LogSettings()
