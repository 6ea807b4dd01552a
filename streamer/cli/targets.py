"""Where a run's workers serve their metrics, in a file that Prometheus watches.

The format is that of Prometheus' file-based service discovery:
https://prometheus.io/docs/prometheus/latest/configuration/configuration/#file_sd_config
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from streamer.transport.rundir import targets_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from streamer.runtime.supervisor import Worker


class TargetsFile:
    """Is written when the workers' ports are others than it says.

    Args:
        directory: Of the run. The file goes with it.

    Attributes:
        path: The file.
    """

    def __init__(self, directory: Path) -> None:
        self.path = targets_path(directory)
        self._groups: dict[str, dict[str, object]] = {}
        self._written = b""

    def update(self, workers: Iterable[Worker]) -> None:
        """Say where these are. One that is down stays where it was, so that Prometheus misses it.

        Raises:
            OSError: The file can't be written.
        """
        for worker in workers:
            if worker.ready is not None:
                self._groups[worker.name] = {
                    "targets": [f"127.0.0.1:{worker.ready.metrics_port}"],
                    "labels": {"role": worker.ready.role},
                }
        text = msgspec.json.format(msgspec.json.encode([*self._groups.values()])) + b"\n"
        if text != self._written:
            # Prometheus may read at any time: it gets the old one or the new one.
            fresh = self.path.with_suffix(".new")
            fresh.write_bytes(text)
            fresh.replace(self.path)
            self._written = text
