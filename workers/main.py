"""What every worker's `main` does: read settings, set up logs, serve."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import disable_created_metrics

from streamer.cli.settings import load_settings
from streamer.core.errors import ConfigError, StreamerError
from streamer.runtime.worker import serve
from streamer.sources.credentials import redact
from streamer.telemetry.families import Role
from streamer.telemetry.logs import LogObserver, configure_logs
from streamer.telemetry.observer import Observers
from streamer.telemetry.prometheus import PrometheusObserver
from streamer.telemetry.spans import TracingObserver
from streamer.telemetry.tracing import open_tracing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from prometheus_client import CollectorRegistry

    from streamer.core.config import Settings
    from streamer.runtime.worker import Service
    from streamer.telemetry.observer import Observer


def parse_arguments(role: str, arguments: Sequence[str] | None) -> tuple[Settings, int | None]:
    """Settings of this worker, and its lifeline.

    Raises:
        ConfigError: A setting is wrong.
    """
    parser = argparse.ArgumentParser(prog=f"streamer worker {role}", allow_abbrev=False)
    parser.add_argument("--config", type=Path, help="TOML file; default: streamer.toml, if any")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="for example redis.url=…"
    )
    parser.add_argument("--lifeline-fd", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    overrides = {}
    for assignment in options.set:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set: expected KEY=VALUE, found {redact(assignment)!r}")
        overrides[key] = value
    return load_settings(file=options.config, overrides=overrides), options.lifeline_fd


def main(
    role: str,
    build: Callable[[Settings, Observer, CollectorRegistry], Service],
    arguments: Sequence[str] | None = None,
) -> int:
    """Run one role.

    Args:
        role: For messages and logs.
        build: Makes the service from settings, an observer, and a registry for its own metrics.
        arguments: The command line; None takes the process's.

    Returns:
        The exit code: 0 after a stop, 1 after a failure, 2 for wrong settings.
    """
    try:
        settings, lifeline_fd = parse_arguments(role, arguments)
        configure_logs(role=role, level=settings.log.level, json=settings.log.json_lines)
        # Each would be a series more, of every counter and histogram.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        metrics = PrometheusObserver(
            Role(role), settings.metrics, latency_budget_seconds=settings.latency_budget_seconds
        )
        spans = open_tracing(settings.tracing, role=role)
        tracing = () if spans is None else (TracingObserver(spans),)
        service = build(settings, Observers((metrics, LogObserver(), *tracing)), metrics.registry)
    except ConfigError as error:
        print(f"streamer worker {role}: {error}", file=sys.stderr)  # noqa: T201  # usage error
        return 2
    except StreamerError as error:
        print(f"streamer worker {role}: {error}", file=sys.stderr)  # noqa: T201  # before logs
        return 1
    return serve(
        service,
        role=role,
        registry=metrics.registry,
        metrics_host=settings.metrics.host,
        metrics_port=settings.metrics.port,
        lifeline_fd=lifeline_fd,
        drain_seconds=settings.drain_seconds,
        spans=spans,
    )
