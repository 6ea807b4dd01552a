"""`streamer worker ROLE`: one role, for production."""

from __future__ import annotations

import os
import sys
from enum import StrEnum

import typer


class Role(StrEnum):
    """What a worker does."""

    INGEST = "ingest"
    ENCODER = "encoder"
    TEMPORAL = "temporal"
    GATEWAY = "gateway"


def worker(
    context: typer.Context,
    role: Role = typer.Argument(help="Which part of the pipeline this process is."),
) -> None:
    """Run one role until it is told to stop.

    Options: `--config FILE` (TOML), and `--set KEY=VALUE`, for example `--set redis.url=…`.
    Settings also come from `STREAMER_…` variables: `streamer config show` lists them.
    """
    # The process becomes the worker: signals reach it directly, and nothing of the command line
    # stays in memory.
    os.execv(sys.executable, [sys.executable, "-P", "-m", f"workers.{role}", *context.args])
