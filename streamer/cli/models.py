"""`streamer models`: the bundles there are, what is in them, and which one runs."""

from __future__ import annotations

import contextlib
import json as json_module
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from streamer.cli.running import redis_place
from streamer.core.errors import ConfigError, ModelError
from streamer.models.bundle import SHIPPED, Bundle, find_bundle, shipped_names
from streamer.models.inspection import inspect_bundle
from streamer.models.manifest import MANIFEST
from streamer.state.history import RedisHistory
from streamer.transport.connection import connect_to_read
from streamer.transport.install import read_install
from streamer.transport.keys import Keys
from streamer.transport.model_registry import CONFIGURED, ModelRegistry, WantedModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import redis as redis_package

    from streamer.models.config import ModelConfig

models_app = typer.Typer(no_args_is_help=True, help="Bundles: trained temporal models.")

_JSON = typer.Option(False, "--json", help="JSON on stdout, nothing else.")
_COLUMNS = ("NAME", "MODEL", "NETWORK", "LABELS", "FPS", "ENCODER", "WHERE")
_SERVER_COLUMNS = ("NAME", "MODEL", "LABELS", "ENCODER", "STREAMS", "WANTED")


@models_app.command("list")
def list_models(
    *,
    folders: list[Path] = typer.Argument(None, help="Folders to look for bundles in."),
    redis: str | None = typer.Option(None, help="The models known to this server instead."),
    json: bool = _JSON,
) -> None:
    """List the shipped bundles and those in folders, or the models that a server knows."""
    if redis is not None:
        if folders:
            raise ConfigError("models list: expected folders or --redis, found both")
        with _server(redis, "models list") as (client, keys):
            _print_rows(_known(client, keys), _SERVER_COLUMNS, as_json=json)
        return
    rows, well = [], True
    for path in [SHIPPED, *(folders or [])]:
        if not path.is_dir():
            raise ConfigError(f"models list: {path}: expected a folder, found none")
        for manifest in sorted(path.rglob(MANIFEST)):
            try:
                rows.append(_row(Bundle.load(manifest.parent)))
            except ModelError as error:
                _say(str(error))
                well = False
    _print_rows(rows, _COLUMNS, as_json=json)
    if not well:
        raise typer.Exit(1)


@models_app.command("show")
def show(
    bundle: str = typer.Argument(help="A shipped bundle's name, or a folder."),
    *,
    json: bool = _JSON,
) -> None:
    """Print what a bundle is, and its model card."""
    loaded = Bundle.load(bundle)
    if json:
        print(
            msgspec.json.encode(
                {
                    "model_id": loaded.model_id,
                    "path": str(loaded.path),
                    "config": loaded.config,
                    "preprocess": loaded.preprocess,
                    "decoder": loaded.decoder,
                    "metrics": loaded.metrics,
                }
            ).decode()
        )
        return
    for name, value in zip(_COLUMNS, _row(loaded).values(), strict=True):
        print(f"{name.capitalize():<10}{value}")
    if loaded.config.directions == 2:
        print(f"{'Lookahead':<10}{_lookahead(loaded.config)}")
    print(f"{'Phases':<10}{', '.join(loaded.config.phases) or 'none'}")
    print(f"{'Actions':<10}{', '.join(loaded.config.actions) or 'none'}")
    print(f"\n{(loaded.path / 'README.md').read_text(encoding='utf-8').rstrip()}")


@models_app.command("verify")
def verify(bundle: str = typer.Argument(help="A shipped bundle's name, or a folder.")) -> None:
    """Check every file of a bundle, and its graph against its weights; a line per fault."""
    found = inspect_bundle(bundle)
    for remark in found.remarks:
        _say(remark)
    for fault in found.faults:
        print(fault)
    if found.faults:
        raise typer.Exit(1)
    print(f"{found.path}: {found.model_id} is whole")


@models_app.command("use")
def use(
    bundle: str = typer.Argument(help="A shipped bundle's name, or a folder."),
    *,
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
) -> None:
    """Have the running temporal workers go on with another bundle, without a restart.

    Each looks for the folder on its own machine. States begin anew, and the events say so.
    """
    loaded = Bundle.load(bundle)
    with _server(redis, "models use") as (client, keys):
        _check_encoder(loaded, client, keys)
        place = bundle if bundle in shipped_names() else str(find_bundle(bundle).resolve())
        wanted = WantedModel(model_id=loaded.model_id, bundle=place)
        ModelRegistry(client, keys=keys).want(wanted)
    print(f"{loaded.model_id} is wanted; `streamer models list --redis …` counts its streams")


@models_app.command("unuse")
def unuse(
    *,
    redis: str | None = typer.Option(None, help="Redis of the pipeline. Default: the one running."),
) -> None:
    """Take back what `use` asked for: each temporal worker returns to the bundle of its settings.

    As with `use`, without a restart; states begin anew, and the events say so.
    """
    with _server(redis, "models unuse") as (client, keys):
        registry = ModelRegistry(client, keys=keys)
        before = registry.wanted()
        registry.want(CONFIGURED)
    if before is None:
        print("no bundle was asked for; each temporal worker runs the one of its settings")
    else:
        print(f"{before.model_id} is wanted no more; each worker returns to its own bundle")


def _check_encoder(bundle: Bundle, client: redis_package.Redis, keys: Keys) -> None:
    """Raise ModelError if no stream has features that the bundle can read."""
    entries = ModelRegistry(client, keys=keys).all()
    running = {
        entries[model_id].encoder_id
        for model_id in RedisHistory(client, keys=keys).model_ids().values()
        if model_id in entries and entries[model_id].encoder_id
    }
    if running and bundle.config.encoder_id not in running:
        raise ModelError(
            f"bundle {bundle.config.name} expects features of encoder {bundle.config.encoder_id} "
            f"({bundle.config.encoder}), and encoder {', '.join(sorted(running))} is running; "
            "start the pipeline anew with this bundle, or take one trained with that encoder"
        )


@contextlib.contextmanager
def _server(redis: str | None, command: str) -> Iterator[tuple[redis_package.Redis, Keys]]:
    url, access = redis_place(redis, command)
    with contextlib.closing(connect_to_read(url, access=access, of="--redis")) as client:
        installed = read_install(client)
        if installed is None:
            raise ConfigError("--redis: expected a server with a pipeline, found one without")
        yield client, Keys(installed.partitions)


def _known(client: redis_package.Redis, keys: Keys) -> list[dict[str, Any]]:
    registry = ModelRegistry(client, keys=keys)
    wanted, entries = registry.wanted(), registry.all()
    streams = Counter(RedisHistory(client, keys=keys).model_ids().values())
    wanted_id = wanted.model_id if wanted else ""
    rows: list[dict[str, Any]] = []
    for model_id in sorted({*entries, *streams} | ({wanted_id} - {""})):
        entry = entries.get(model_id)
        rows.append(
            {
                "name": entry.name if entry else "?",
                "model": model_id,
                "labels": len(entry.phases) + len(entry.actions) if entry else "?",
                "encoder": (entry.encoder_id if entry else "") or "?",
                "streams": streams[model_id],
                "wanted": "yes" if model_id == wanted_id else "",
            }
        )
    return rows


def _lookahead(config: ModelConfig) -> str:
    if not config.lookahead_frames:
        return "all frames to come: for whole recordings, not served online"
    return f"{config.lookahead_frames} frames, {1000 * config.lookahead_seconds:.0f} ms"


def _row(bundle: Bundle) -> dict[str, Any]:
    config = bundle.config
    precision = "" if config.precision == "float32" else f" {config.precision}"
    return {
        "name": config.name,
        "model": bundle.model_id,
        "network": f"{config.architecture} {config.num_layers}x{config.hidden_dim}"
        f"{' both ways' * (config.directions == 2)}{precision}",
        "labels": config.num_classes,
        "fps": f"{config.analysis_fps:g}",
        "encoder": config.encoder,
        "where": str(bundle.path),
    }


def _print_rows(rows: Sequence[dict[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print(json_module.dumps(row, ensure_ascii=False))
        return
    table = [tuple(columns), *(tuple(str(value) for value in row.values()) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*table, strict=True)]
    for cells in table:
        print("  ".join(cell.ljust(n) for cell, n in zip(cells, widths, strict=True)).rstrip())


def _say(text: str) -> None:
    print(f"streamer: {text}", file=sys.stderr)
