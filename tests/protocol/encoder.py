"""An encoder worker: an outbox, and what it owes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamer.core.errors import TransportError
from streamer.transport.redis import RedisStreamLog
from tests.protocol.bench import KEYS, Deaf

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamer.core.feature import InputEntry
    from streamer.runtime.outbox import Outbox
    from tests.protocol.camera import Camera
    from tests.protocol.wires import Wire


class Encoder:
    """An outbox, and what it owes: all that was added and not refused.

    Args:
        wire: Its connection.
        outbox: Its kind of outbox.
        cameras: By stream.
    """

    def __init__(self, wire: Wire, *, outbox: type[Outbox], cameras: Mapping[str, Camera]) -> None:
        self.wire = wire
        self._outbox = outbox
        self._cameras = cameras
        self.start()

    def start(self) -> None:
        """Begin with nothing in memory."""
        self.owed: dict[tuple[str, int], InputEntry] = {}
        self.outbox = self._outbox(
            RedisStreamLog(self.wire.client, keys=KEYS),
            observer=Deaf(),
            refused=self._refused,
            clock=lambda: 0.0,
        )

    def add(self, entry: InputEntry) -> None:
        self.owed[entry.stream_id, entry.entry_us] = entry
        self.outbox.add([entry])

    def publish(self) -> None:
        try:
            self.outbox.publish()
        except TransportError:
            self.outbox.doubt()

    def _refused(self, stream_id: str, entry_us: int) -> None:
        entry = self.owed.pop((stream_id, entry_us))
        camera = self._cameras[stream_id]
        stored = camera.stored_session()
        assert stored != entry.session, "an entry of the current session was refused"
        camera.fenced = camera.fenced or camera.session == entry.session
