"""The verbs of `streamer`."""

from __future__ import annotations

import typer

from streamer import __version__
from streamer.cli.config import config_app
from streamer.cli.dataset import dataset_app
from streamer.cli.doctor import doctor
from streamer.cli.eval import evaluate
from streamer.cli.events import events_app
from streamer.cli.explain import explain
from streamer.cli.export import export
from streamer.cli.fit import fit
from streamer.cli.models import models_app
from streamer.cli.predict import predict
from streamer.cli.redis import redis_app
from streamer.cli.run import demo, run
from streamer.cli.sources import sources_app
from streamer.cli.streams import streams_app
from streamer.cli.token import token_app
from streamer.cli.top import top
from streamer.cli.worker import worker

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Watches live cameras and says, online, what is happening now.",
)
app.command("run")(run)
app.command("demo")(demo)
app.command("top")(top)
app.command("worker", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    worker
)
app.command("fit")(fit)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("explain")(explain)
app.command("export")(export)
app.command("doctor")(doctor)
app.add_typer(dataset_app, name="dataset")
app.add_typer(events_app, name="events")
app.add_typer(sources_app, name="sources")
app.add_typer(streams_app, name="streams")
app.add_typer(models_app, name="models")
app.add_typer(token_app, name="token")
app.add_typer(redis_app, name="redis")
app.add_typer(config_app, name="config")


@app.callback(invoke_without_command=True)
def root(
    *, version: bool = typer.Option(False, "--version", help="Print the version and exit.")
) -> None:
    """Options of the command itself."""
    if version:
        print(__version__)
        raise typer.Exit
