"""A subscriber that follows the log from its first event, through everything that goes wrong."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Self

from streamer.client import subscribe
from streamer.core.event import encode_event

if TYPE_CHECKING:
    from types import TracebackType

    from streamer.client import Hole

RETRY_SECONDS = 0.2


class LiveSubscriber:
    """Reads while entered, in a thread, as a user's program does.

    Args:
        url: The server, or the proxy before it.
        deaf: Whether it ignores `sequence`: a mutant.
    """

    def __init__(self, url: str, *, deaf: bool = False) -> None:
        self.events: list[bytes] = []
        self.holes: list[Hole] = []
        self.failure: BaseException | None = None
        self._subscription = subscribe(url, since="0", on_hole=self.holes.append)
        if deaf:
            self._subscription._continuity.take = lambda event: (True, None)  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._follow, name="subscriber", daemon=True)
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait_for(self, num_events: int, *, seconds: float) -> bool:
        """Whether it has had so many events, within the time."""
        for _ in range(int(seconds / RETRY_SECONDS)):
            if len(self.events) >= num_events or self.failure is not None:
                break
            self._over.wait(RETRY_SECONDS)
        return len(self.events) >= num_events

    def stop(self) -> None:
        """End it. Idempotent."""
        self._over.set()
        self._subscription.stop()
        self._thread.join(5)

    def _follow(self) -> None:
        try:
            for event in self._subscription:
                self.events.append(encode_event(event))
                if self._over.is_set():
                    return
        except BaseException as error:  # told to the judge
            self.failure = error
