"""The ingest worker's pictures: a thread keeps those of deciding frames, and shows previews."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import msgspec
import structlog

from streamer.client.follower import Follower
from streamer.client.log import EventLog, LoggedEvent
from streamer.core.errors import SourceError, TransportError
from streamer.core.event import SNAPSHOT_TYPES, FrameRef
from streamer.runtime.pictures import RecentPictures
from streamer.sources.jpeg import JpegEncoder
from streamer.telemetry.records.ingest import SnapshotTaken
from streamer.transport.access import RedisAccess
from streamer.transport.connection import connect
from streamer.transport.pictures import Picture, PictureStore

if TYPE_CHECKING:
    from streamer.core.config import Settings
    from streamer.core.preprocess import Preprocess
    from streamer.telemetry.observer import Observer
    from streamer.transport.keys import Keys

IDLE_SECONDS = 0.5
"""How often it looks whether somebody watches. Events wake it."""

WATCHED_SECONDS = 0.05
"""How often it shows previews while somebody does."""

RETRY_SECONDS = 1.0


class _Data(msgspec.Struct):
    frame: FrameRef


class _Event(msgspec.Struct):
    """What of an event says which frame decided."""

    data: _Data


class Pictures:
    """Follows the event log for the streams whose cameras run here.

    Delivery: at most once, and only what is still remembered when its event has been read. All that
    goes wrong here, Redis included, costs pictures and nothing else: it has a connection of its
    own, and the cameras' threads never wait for it.
    """

    def __init__(
        self, settings: Settings, observer: Observer, *, keys: Keys, preprocess: Preprocess
    ) -> None:
        self._settings = settings.ingest
        self._url = settings.redis.url
        self._access = RedisAccess.of(settings.redis)
        self._observer = observer
        self._keys = keys
        self._preprocess = preprocess
        self._streams: dict[str, RecentPictures] = {}
        self._gone: list[str] = []
        self._watched: set[str] = set()
        self._trouble = ""
        self._looked_at = 0.0
        self._jpeg = JpegEncoder()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pictures", daemon=True)

    @property
    def remark(self) -> str:
        """A line for the probes, if there are no pictures."""
        ended = self._thread.ident is not None and not self._thread.is_alive()
        return "pictures: the thread has ended; see the log" if ended else self._trouble

    def of(self, stream_id: str) -> RecentPictures:
        """Where a new camera puts its frames."""
        ingest = self._settings
        recent = RecentPictures(
            num_frames=ingest.recent_frames if ingest.snapshots else 1,
            preprocess=self._preprocess,
            max_side=ingest.picture_side,
        )
        self._streams[stream_id] = recent
        return recent

    def forget(self, stream_id: str, *, removed: bool) -> None:
        """The camera is no more; if its stream was removed, its pictures go away too."""
        self._streams.pop(stream_id, None)
        if removed:
            self._gone.append(stream_id)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End. Returns soon."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(IDLE_SECONDS * 2)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with contextlib.closing(connect(self._url, access=self._access)) as client:
                    # From now on: frames of older events are not remembered.
                    follower = Follower(EventLog(client))
                    follower.begin(None)
                    self._trouble = ""
                    store = PictureStore(client, keys=self._keys)
                    while not self._stopped.is_set():
                        self._turn(follower, store)
            except (TransportError, SourceError) as error:
                if not self._trouble:
                    structlog.get_logger().warning("no pictures", error=str(error))
                self._trouble = f"pictures: {error}"
                self._stopped.wait(RETRY_SECONDS)

    def _turn(self, follower: Follower, store: PictureStore) -> None:
        while self._gone:
            store.forget(self._gone[0])
            del self._gone[0]
        for item in follower.read(wait_seconds=WATCHED_SECONDS if self._watched else IDLE_SECONDS):
            if isinstance(item, LoggedEvent) and self._settings.snapshots:
                self._keep(item, store)
        streams = dict(self._streams)
        if time.monotonic() - self._looked_at >= IDLE_SECONDS:
            self._looked_at = time.monotonic()
            wanted = store.watched(list(streams))
            self._watched = {stream_id for stream_id, fps in wanted.items() if fps}
            for stream_id, fps in wanted.items():
                streams[stream_id].want_previews(fps)
        for stream_id in self._watched & streams.keys():
            preview = streams[stream_id].next_preview()
            if preview is not None:
                stamp, jpeg = preview.stamp, self._jpeg.encode(preview.picture)
                picture = Picture(stamp.epoch, stamp.seq, stamp.captured_at_ns, jpeg)
                store.show(stream_id, picture)

    def _keep(self, event: LoggedEvent, store: PictureStore) -> None:
        recent = self._streams.get(event.stream_id)
        if recent is None or event.type not in SNAPSHOT_TYPES:
            return
        try:
            at = msgspec.json.decode(event.json, type=_Event).data.frame
        except msgspec.MsgspecError:
            return  # another program's
        found = recent.find(epoch=at.epoch, seq=at.seq)
        self._observer.observe(SnapshotTaken(event.stream_id, kept=found is not None))
        if found is None:
            return
        jpeg = self._jpeg.encode_image(
            found.frame.image, aspect=found.aspect, max_side=self._settings.picture_side
        )
        store.keep(
            event.stream_id,
            Picture(at.epoch, at.seq, found.frame.stamp.captured_at_ns, jpeg),
            max_pictures=self._settings.snapshots,
            max_seconds=self._settings.snapshot_seconds,
        )
