"""Are Redis and the workers themselves well?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploy.grafana.source.board import board, variable
from deploy.grafana.source.panels import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    Query,
    lines,
    number,
)
from deploy.grafana.source.tables import Column, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import Dashboard, Panel

MINE = 'job="streamer", role=~"$role"'


def _redis_now() -> Sequence[Builder[Panel]]:
    """One number each."""
    return [
        number(
            "Redis",
            "1 while it answers its exporter.",
            "min(redis_up)",
            unit="short",
            steps=((None, RED), (1, GREEN)),
            runbooks=["RedisDown", "RedisExporterAbsent"],
        ),
        number(
            "Commands",
            "All clients together.",
            "sum(rate(redis_commands_processed_total[$__rate_interval]))",
            unit="ops",
        ),
        number("Clients", "Open connections.", "sum(redis_connected_clients)", unit="short"),
        number(
            "Evicted keys",
            "Has to stay 0: an evicted key is a lost state. Set `maxmemory-policy noeviction`.",
            "sum(redis_evicted_keys_total)",
            unit="short",
            steps=((None, GREEN), (1, RED)),
            runbooks=["RedisMemoryHigh"],
        ),
        number(
            "Connections refused",
            "At `maxclients`, since the start.",
            "sum(redis_rejected_connections_total)",
            unit="short",
            steps=((None, GREEN), (1, ORANGE)),
        ),
        number(
            "Keys", "In all databases.", "sum(redis_db_keys)", unit="short", steps=((None, BLUE),)
        ),
    ]


def _redis() -> Sequence[Builder[Panel]]:
    """What Redis does, over time."""
    return [
        lines(
            "Redis memory",
            "Used, and the limit if one is set (0: none).",
            Query("redis_memory_used_bytes", "used"),
            Query("redis_memory_max_bytes", "limit"),
            unit="bytes",
            width=8,
            runbooks=["RedisMemoryHigh"],
        ),
        lines(
            "Time in commands",
            "Seconds per second, the ten largest; Redis has one thread for them.",
            Query(
                "topk(10, sum by (cmd) "
                "(rate(redis_commands_duration_seconds_total[$__rate_interval])))",
                "{{cmd}}",
            ),
            unit="percentunit",
            stacked=True,
            width=8,
        ),
        lines(
            "Network",
            "Bytes in and out.",
            Query("sum(rate(redis_net_input_bytes_total[$__rate_interval]))", "in"),
            Query("sum(rate(redis_net_output_bytes_total[$__rate_interval]))", "out"),
            unit="Bps",
            width=8,
        ),
    ]


def _workers() -> Sequence[Builder[Panel]]:
    """A table of them."""
    return [
        rows(
            "Workers",
            "One row per process that Prometheus scrapes.",
            [
                Column("instance"),
                Column("ready", f"max by (instance, role) (streamer_worker_ready{{{MINE}}})"),
                Column("role"),
                Column(
                    "started",
                    f"1000 * max by (instance) (process_start_time_seconds{{{MINE}}})",
                    unit="dateTimeFromNow",
                ),
                Column("", f"max by (instance, version) (streamer_build_info{{{MINE}}})"),
                Column("version"),
                Column(
                    "scrape",
                    f"max by (instance) (scrape_duration_seconds{{{MINE}}})",
                    unit="s",
                ),
                Column("series", f"max by (instance) (scrape_samples_scraped{{{MINE}}})"),
            ],
            by="instance",
        ),
    ]


def _processes() -> Sequence[Builder[Panel]]:
    """What each process takes."""
    return [
        lines(
            "CPU",
            "Cores in use, by process.",
            Query(
                f"rate(process_cpu_seconds_total{{{MINE}}}[$__rate_interval])",
                "{{role}} {{instance}}",
            ),
            unit="short",
            width=8,
        ),
        lines(
            "Process memory",
            "Resident. It has to be flat.",
            Query(f"process_resident_memory_bytes{{{MINE}}}", "{{role}} {{instance}}"),
            unit="bytes",
            width=8,
        ),
        lines(
            "Open files",
            "Sockets, shared memory, files.",
            Query(f"process_open_fds{{{MINE}}}", "{{role}} {{instance}}"),
            unit="short",
            width=8,
        ),
        lines(
            "Garbage collections",
            "Of Python's oldest generation, per minute.",
            Query(
                "60 * sum by (role, instance) (rate(python_gc_collections_total"
                f'{{{MINE}, generation="2"}}[$__rate_interval]))',
                "{{role}} {{instance}}",
            ),
            unit="cpm",
            width=8,
        ),
        lines(
            "Up and ready",
            "0 while a process does not answer a scrape, or says that it is not ready.",
            Query(f"min by (role) (up{{{MINE}}})", "up {{role}}"),
            Query(f"min by (role) (streamer_worker_ready{{{MINE}}})", "ready {{role}}"),
            unit="short",
            width=8,
            runbooks=["WorkerAbsent", "WorkerLost", "WorkerNotReady", "WorkerRestarting"],
        ),
        lines(
            "Versions",
            "Workers by version. More than one line: an update is under way.",
            Query("count by (version) (streamer_build_info)", "{{version}}"),
            unit="short",
            width=8,
            runbooks=["VersionSkew"],
        ),
    ]


def _scraping() -> Sequence[Builder[Panel]]:
    """What the metrics themselves cost."""
    return [
        lines(
            "Time of a scrape",
            "By worker. It is pulled by Prometheus and answered by a thread of its own.",
            Query(f"scrape_duration_seconds{{{MINE}}}", "{{role}} {{instance}}"),
            unit="s",
            width=8,
        ),
        lines(
            "Series",
            "Per worker, and what has no series of its own beyond `metrics.detail_series`.",
            Query(f"scrape_samples_scraped{{{MINE}}}", "{{role}} {{instance}}"),
            Query(f"streamer_metrics_left_out{{{MINE}}}", "left out {{role}} {{instance}}"),
            unit="short",
            width=8,
        ),
        lines(
            "Prometheus",
            "Series in its head block.",
            Query("prometheus_tsdb_head_series", "series"),
            unit="short",
            width=8,
        ),
    ]


def dashboard() -> Dashboard:
    """Redis, processes, scraping."""
    role = variable("role", "Role", "label_values(streamer_build_info, role)", "Workers' roles.")
    return board(
        "streamer-processes",
        "streamer / Redis and processes",
        "Are Redis and the workers themselves well?",
        [
            ("Redis now", _redis_now()),
            ("Redis", _redis()),
            ("Workers", [*_workers(), *_processes()]),
            ("Scraping", _scraping()),
        ],
        variables=[role],
    )
