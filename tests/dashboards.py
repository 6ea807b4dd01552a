"""The committed dashboards and rules, and the queries in them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "deploy/prometheus"
DASHBOARDS = ROOT / "deploy/grafana/dashboards"
RUNBOOKS = ROOT / "docs/runbooks"
_BLOCK = re.compile(r"^```\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and where it stands.

    Attributes:
        where: For messages.
        expr: The expression, with Grafana's variables in it.
        instant: Whether only its value now is asked for.
    """

    where: str
    expr: str
    instant: bool = False

    def __str__(self) -> str:
        return self.where


def dashboards() -> dict[str, dict[str, Any]]:
    """All committed ones, by uid."""
    found = [json.loads(path.read_text()) for path in sorted(DASHBOARDS.rglob("*.json"))]
    return {board["uid"]: board for board in found}


def panel_queries() -> list[Asked]:
    """Of every panel."""
    return [
        Asked(
            f"{uid}: {panel['title']}: {target['refId']}",
            target["expr"],
            instant=target.get("instant", False),
        )
        for uid, board in dashboards().items()
        for panel in board["panels"]
        for target in panel.get("targets", [])
    ]


def annotation_queries() -> list[Asked]:
    """Of every annotation; they are the same on all dashboards."""
    found = {
        annotation["expr"]: Asked(f"annotation {annotation['name']}", annotation["expr"])
        for board in dashboards().values()
        for annotation in board.get("annotations", {}).get("list", [])
    }
    return [*found.values()]


def variable_queries() -> list[Asked]:
    """Of every variable that is read from Prometheus."""
    found = {
        variable["query"]["query"]: Asked(f"${variable['name']}", variable["query"]["query"])
        for board in dashboards().values()
        for variable in board.get("templating", {}).get("list", [])
        if variable["type"] == "query"
    }
    return [*found.values()]


def rules(file: str) -> list[dict[str, Any]]:
    """Of `recording.yml` or `alerts.yml`."""
    groups = yaml.safe_load((PROMETHEUS / "rules" / file).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_queries() -> list[Asked]:
    """Of every recording rule and alert."""
    recorded = [Asked(rule["record"], rule["expr"]) for rule in rules("recording.yml")]
    alerts = [
        Asked(f"{rule['alert']} {rule['labels'].get('role', '')}".strip(), rule["expr"])
        for rule in rules("alerts.yml")
    ]
    return recorded + alerts


def runbook_queries() -> list[Asked]:
    """Of every runbook: its blocks without a language."""
    return [
        Asked(f"{path.stem} {number}", block)
        for path in sorted(RUNBOOKS.glob("*.md"))
        for number, block in enumerate(_BLOCK.findall(path.read_text()))
    ]


def every_query() -> list[Asked]:
    """All of them; of a variable, what its values are taken from."""
    variables = [
        Asked(asked.where, found[1])
        for asked in variable_queries()
        if (found := LABEL_VALUES.fullmatch(asked.expr))
    ]
    return [
        *panel_queries(),
        *annotation_queries(),
        *variables,
        *rule_queries(),
        *runbook_queries(),
    ]
