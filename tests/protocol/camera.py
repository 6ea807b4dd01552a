"""Sources, and what their ingest workers know of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from streamer.core.errors import TransportError
from streamer.transport.lease import watch_leases
from streamer.transport.redis import RedisStreamLog
from tests.protocol.bench import KEYS
from tests.samples import START_NS, STEP_NS, chunk, note

if TYPE_CHECKING:
    from streamer.core.feature import FeatureChunk, StatusNote, StreamStatus
    from tests.protocol.bench import Bench

CAMERAS = "cameras"
"""Holds the leases of all sources."""


class Scene:
    """What all cameras see: no two of them at the same time."""

    def __init__(self) -> None:
        self.now_ns = START_NS
        self._num_sessions = 0

    def pass_by(self, num_frames: int = 1) -> np.ndarray:
        """Let time pass. Returns when each frame was taken: int64 (num_frames,), UTC."""
        times_ns = self.now_ns + STEP_NS * np.arange(1, num_frames + 1)
        self.now_ns = int(times_ns[-1])
        return times_ns

    def new_session(self) -> str:
        self._num_sessions += 1
        return f"s{self._num_sessions}"


class Camera:
    """A source with an ingest worker; a new one, when another session begins."""

    def __init__(self, stream_id: str, *, bench: Bench, scene: Scene) -> None:
        self._stream_id = stream_id
        self._bench = bench
        self._scene = scene
        self.session = ""
        self.fenced = True
        self._epoch = self._next_seq = self._next_note = 0

    def stored_session(self) -> str:
        """Who may publish now: as the server has it."""
        stored: Any = self._bench.server.client.hget(KEYS.source(self._stream_id), "session")
        return (stored or b"").decode()

    def open(self, *, new_session: bool) -> None:
        """Open the source, again or for the first time; try until Redis answers."""
        session, epoch = self.session, self._epoch
        if new_session or not session:
            session, epoch = self._scene.new_session(), 0
        log = RedisStreamLog(self._bench.wires["camera"].client, keys=KEYS, owner=CAMERAS)
        opened = None
        while opened is None:
            try:
                opened = log.open_source(
                    self._stream_id, session=session, at_least_epoch=self._epoch + 1
                )
            except TransportError:
                continue  # it tries again
        self.session, self._epoch = session, max(opened.epoch, epoch + 1)
        self.fenced = False
        self._next_seq = self._next_note = 0

    def reclaim(self) -> None:
        """What an ingest worker does that is told that Redis has forgotten its session."""
        if not self.session or self.stored_session() == self.session:
            return
        self._bench.server.remember()
        client = self._bench.server.client
        leases = watch_leases(client, keys=KEYS)
        leases.acquire([self._stream_id], owner=CAMERAS, ttl_seconds=1e6)
        log = RedisStreamLog(client, keys=KEYS, owner=CAMERAS)
        assert log.reclaim(self._stream_id, session=self.session, epoch=self._epoch)

    def skip(self, num_frames: int) -> None:
        """Lose frames."""
        self._make_ready()
        self._next_seq += num_frames

    def chunk(self, features_TD: np.ndarray, **changes: Any) -> FeatureChunk:
        """The next frames, one for each row."""
        self._make_ready()
        times_ns = self._scene.pass_by(len(features_TD))
        entry = chunk(
            self._stream_id,
            self._next_seq,
            length=len(features_TD),
            features=features_TD,
            session=self.session,
            epoch=self._epoch,
            entry_us=self._scene.now_ns // 1000,
            captured_at_ns=times_ns,
            received_at_ns=times_ns,
            **changes,
        )
        self._next_seq += len(features_TD)
        return entry

    def note(self, status: StreamStatus) -> StatusNote:
        """The next note."""
        self._make_ready()
        self._scene.pass_by()
        entry = note(
            self._stream_id,
            status,
            session=self.session,
            epoch=self._epoch,
            note_seq=self._next_note,
            entry_us=self._scene.now_ns // 1000,
            noted_at_ns=self._scene.now_ns,
        )
        self._next_note += 1
        return entry

    def _make_ready(self) -> None:
        if self.fenced:
            self.open(new_session=True)
        self.reclaim()
