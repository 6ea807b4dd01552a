"""How much memory a run took, at most."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from tests.faults.scene import Scene


class Watch:
    """Remembers how much memory was taken, at most."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.rss_bytes: dict[str, int] = {}
        self.server_bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.5):
            for (role, _), post in self._scene.farm.posts.items():
                self.rss_bytes[role] = max(self.rss_bytes.get(role, 0), post.rss_bytes())
            with contextlib.suppress(redis.RedisError, OSError):
                self.server_bytes = max(self.server_bytes, self._scene.servers.used_bytes())
