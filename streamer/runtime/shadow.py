"""Loads the model that is wanted beside the one that runs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from streamer.telemetry.records.model import ModelPending, ModelRefused

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamer.telemetry.observer import Observer
    from streamer.transport.model_registry import WantedModel

RETRY_SECONDS = 10.0
"""A model that could not be loaded is tried again so often: somebody may have put it there."""

JOIN_SECONDS = 2.0
"""How long a stop waits for a model that is being loaded."""


class Closable(Protocol):
    """A loaded model."""

    def close(self) -> None:
        """Free its memory."""
        ...


Loaded = TypeVar("Loaded", bound=Closable)


class ShadowLoader(Generic[Loaded]):
    """Loads and warms up in a thread of its own, while the work loop goes on with what it has.

    At most one model is being loaded at a time. All methods are called from the work loop.

    Args:
        load: Makes a model ready to serve. Runs in the thread; must not touch what the loop uses.
        observer: Is told what can't be loaded, and whether another model is wanted than runs.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        load: Callable[[WantedModel], Loaded],
        observer: Observer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._observer = observer
        self._clock = clock
        self._job: _Job[Loaded] | None = None
        self._failed: WantedModel | None = None
        self._retry_at = 0.0
        self._pending = ""
        self.remark = ""
        """Why the model that is wanted does not run; empty if it does, or is being loaded."""

    @property
    def busy(self) -> bool:
        """Whether a model is being loaded, or waits to be taken."""
        return self._job is not None

    def look(self, wanted: WantedModel | None, *, running: str) -> None:
        """Begin to load what is wanted, unless it runs, is being loaded or has just failed.

        Args:
            wanted: As written in Redis; None: whatever runs is right.
            running: Id of the model that runs.
        """
        missing = wanted if wanted is not None and wanted.model_id != running else None
        self._tell_pending(missing.model_id if missing else "")
        if missing != self._failed:
            self._failed, self.remark = None, ""
        if missing is None or self._job is not None:
            return
        if self._failed is None or self._clock() >= self._retry_at:
            self._job = _Job(self._load, missing)

    def take(self, wanted: WantedModel | None) -> Loaded | None:
        """The model, once it is loaded and still wanted."""
        job = self._job
        if job is None or job.thread.is_alive():
            return None
        self._job = None
        if job.model is not None and job.wanted == wanted:
            self._failed, self.remark = None, ""
            return job.model
        if job.model is not None:
            job.model.close()
        else:
            self._refuse(job)
        return None

    def wait(self) -> None:
        """Until what is being loaded is loaded, or has failed."""
        if self._job is not None:
            self._job.thread.join()

    def close(self) -> None:
        """Give up what is being loaded. Idempotent."""
        job, self._job = self._job, None
        if job is not None:
            job.thread.join(JOIN_SECONDS)
            if job.model is not None:
                job.model.close()

    def _refuse(self, job: _Job[Loaded]) -> None:
        self._failed, self._retry_at = job.wanted, self._clock() + RETRY_SECONDS
        self.remark = f"model {job.wanted.model_id} is wanted and can't be loaded: {job.error}"
        self._observer.observe(ModelRefused(job.wanted.model_id, job.error))

    def _tell_pending(self, model_id: str) -> None:
        if model_id != self._pending:
            self._pending = model_id
            self._observer.observe(ModelPending(model_id))


class _Job(Generic[Loaded]):
    """One model on its way. `model` and `error` may be read once the thread has ended."""

    def __init__(self, load: Callable[[WantedModel], Loaded], wanted: WantedModel) -> None:
        self.wanted = wanted
        self.model: Loaded | None = None
        self.error = ""
        self._load = load
        self.thread = threading.Thread(target=self._run, name="model-loader", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.model = self._load(self.wanted)
        except Exception as error:  # the model that runs must go on, whatever is wrong with this
            self.error = " ".join(str(error).split()) or type(error).__name__
