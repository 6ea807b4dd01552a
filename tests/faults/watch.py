"""How much memory a run took, at most, and what held more than it may."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any, Self

import redis

from streamer.core.errors import TransportError

if TYPE_CHECKING:
    from tests.faults.bounds import Bounds
    from tests.faults.evidence import Evidence
    from tests.faults.scene import Scene

MAX_RSS_BYTES = 600e6
"""Of any worker: about three times what one needs in calm."""

LOOK_SECONDS = 0.5


class Watch:
    """Looks while entered, in a thread.

    Args:
        scene: At what.
        bounds: For Redis.
    """

    def __init__(self, scene: Scene, bounds: Bounds) -> None:
        self._scene = scene
        self._bounds = bounds
        self.rss_bytes: dict[str, int] = {}
        self.server_bytes = 0
        self.looks = 0
        self._exceeded: dict[str, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def judge(self, evidence: Evidence) -> list[str]:
        """What took more than it may."""
        wrong = [
            f"{role}: {size / 1e6:.0f} MB of memory, expected at most {MAX_RSS_BYTES / 1e6:.0f}"
            for role, size in self.rss_bytes.items()
            if size > MAX_RSS_BYTES
        ]
        wrong += [f"{key}: {length} entries" for key, length in self._exceeded.items()]
        most = self._bounds.most_bytes(
            num_streams=len(evidence.entries),
            num_entries=sum(map(len, evidence.entries.values())),
            num_events=len(evidence.events),
        )
        if self.server_bytes > most:
            size = self.server_bytes / 1e6
            wrong.append(f"Redis: {size:.1f} MB of memory, expected at most {most / 1e6:.1f}")
        if not self.looks:
            wrong.append("Redis was never looked at")
        return wrong

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            # A server may be away, or on its way to another address.
            with (
                contextlib.suppress(redis.RedisError, TransportError, OSError),
                contextlib.closing(self._scene.servers.client()) as client,
            ):
                while not self._over.wait(LOOK_SECONDS):
                    self._look(client)

    def _look(self, client: redis.Redis) -> None:
        for (role, _), post in self._scene.farm.posts.items():
            self.rss_bytes[role] = max(self.rss_bytes.get(role, 0), post.rss_bytes())
        self.server_bytes = max(self.server_bytes, self._scene.servers.used_bytes())
        streams, keys = list(self._scene.streams), self._scene.keys
        if not streams:
            return
        for key, length in self._bounds.exceeded(client, streams, keys=keys).items():
            self._exceeded[key] = max(self._exceeded.get(key, 0), length)
        self.looks += 1
