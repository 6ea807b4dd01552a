"""Breaks a worker on purpose, as FAULTS_MUTANT says: Python imports this file when it starts.

A suite that passes these is blind. Nothing of it is known to the product.
"""

from __future__ import annotations

import os
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder


def _without_judgement(text: str, answer: str) -> str:
    """The functions' text, without the branch of `commit` that gives this answer."""
    condition = {
        "stale": "elseif stored ~= args[at] then",
        "fenced": "elseif owner ~= args[1] then",
    }[answer]
    assert text.count(condition) == 1, f"functions.lua has changed: {condition}"
    return text.replace(condition, "elseif false then")


def _patch_library(functions, *answers: str) -> None:
    library = functions.library

    def mutated() -> str:
        text = library()
        for answer in answers:
            text = _without_judgement(text, answer)
        return text

    functions.library = mutated


def _no_compare_and_set(module) -> None:
    match module.__name__:
        case "streamer.transport.functions":
            _patch_library(module, "stale", "fenced")
        case "streamer.runtime.pump":
            module.Pump.clear = lambda self: None
            module.Pump._drop_what_changed = lambda self, stream_ids: None


def _no_owner_check(module) -> None:
    if module.__name__ == "streamer.transport.functions":
        _patch_library(module, "fenced")


def _events_and_state_apart(module) -> None:
    if module.__name__ != "streamer.state.redis":
        return
    from dataclasses import replace

    from streamer.core.event import encode_event

    store = module.RedisCheckpointStore
    commit = store.commit

    def apart(self, commits, *, owner):
        pipeline = self._client.pipeline(transaction=False)
        for one in commits:
            stream_id = one.checkpoint.state.stream_id
            for event in one.events:
                fields = {
                    "type": event.type, "stream": stream_id, "id": event.id,
                    "sequence": event.number, "event": encode_event(event),
                }  # fmt: skip
                pipeline.xadd(self._keys.events(self._keys.partition(stream_id)), fields)
        pipeline.execute()
        return commit(self, [replace(one, events=()) for one in commits], owner=owner)

    store.commit = apart


def _identity_by_the_server(module) -> None:
    if module.__name__ == "streamer.state.redis":
        import uuid

        import msgspec

        encode = module.encode_event
        module.encode_event = lambda event: encode(
            msgspec.structs.replace(event, id=str(uuid.uuid4()))
        )


def _no_resend_buffer(module) -> None:
    if module.__name__ == "streamer.runtime.outbox":
        module.Outbox._send_again = lambda self, *where, **at: None
        module.Outbox.doubt = lambda self: None


def _dies_of_poison(module) -> None:
    """Not a mutant: a model that a certain input kills, as a bug in a library does."""
    if module.__name__ == "streamer.stages.temporal":
        step = module.TemporalStage._step

        def deadly(self, folds, **options):
            if any((fold.features_D[:2] == POISON).all() for fold in folds):
                os.abort()
            return step(self, folds, **options)

        module.TemporalStage._step = deadly


POISON = (1234.0, -1234.0)
_MUTANTS = {
    "no_compare_and_set": _no_compare_and_set,
    "no_owner_check": _no_owner_check,
    "events_and_state_apart": _events_and_state_apart,
    "identity_by_the_server": _identity_by_the_server,
    "no_resend_buffer": _no_resend_buffer,
    "dies_of_poison": _dies_of_poison,
}


class _Finder(MetaPathFinder):
    """Patches a module of ours as soon as it is loaded."""

    def __init__(self, patches) -> None:
        self._patches = patches

    def find_spec(self, name, path, target=None):
        if not name.startswith("streamer."):
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Patched(spec.loader, self._patches)
        return spec


class _Patched(Loader):
    def __init__(self, loader, patches) -> None:
        self._loader, self._patches = loader, patches

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        self._loader.exec_module(module)
        for patch in self._patches:
            patch(module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


_names = [name for name in os.environ.get("FAULTS_MUTANT", "").split(",") if name]
if _names:
    sys.meta_path.insert(0, _Finder([_MUTANTS[name] for name in _names]))
