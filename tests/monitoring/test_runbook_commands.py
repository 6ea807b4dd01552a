"""Commands in runbooks exist, with the options they are shown with."""

from __future__ import annotations

import re
import shlex

import pytest
import typer.main

from deploy.grafana.source.runbooks import runbook_names
from streamer.cli.app import app
from streamer.cli.settings import known_keys
from tests.dashboards import ROOT, RUNBOOKS

SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
SETTING = re.compile(r"(redis|ingest|encoder|temporal|gateway|metrics|log)\.[a-z_]+")


def spans(name):
    return SPAN.findall((RUNBOOKS / f"{name}.md").read_text())


def parse(words):
    """Read a command line as the command would; nothing is run."""
    command = typer.main.get_command(app)
    context = command.context_class(command)
    while hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, words)
        context = command.context_class(command, info_name=name, parent=context)
    if words:  # else it is only named
        command.parse_args(context, [*words])


COMMANDS = sorted(
    {span for name in runbook_names() for span in spans(name) if span.startswith("streamer ")}
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_can_be_typed(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "streamer.toml").touch()
    parse(shlex.split(command)[1:])


@pytest.mark.parametrize("name", runbook_names())
def test_who_needs_a_command_is_told_where_to_type_it(name):
    told = (RUNBOOKS / f"{name}.md").read_text()
    needs = any(span.startswith(("streamer ", "redis-cli ")) for span in spans(name))
    assert needs == ("(../deploy.md#commands)" in told)


def test_a_command_that_does_not_exist_is_found():
    with pytest.raises(Exception, match="No such command 'show'"):
        parse(["streams", "show"])
    with pytest.raises(Exception, match="No such option: --all"):
        parse(["streams", "list", "--all"])


@pytest.mark.parametrize("name", runbook_names())
def test_settings_and_make_targets_exist(name):
    known = known_keys()
    for span in spans(name):
        if SETTING.fullmatch(span):
            assert span in known
        if span.startswith("make "):
            target = span.split()[1]
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        if span.startswith("docker compose"):
            assert span.split()[2] in {"ps", "logs"}
