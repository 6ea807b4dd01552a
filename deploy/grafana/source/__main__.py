"""Writes the dashboards that Grafana is provisioned with."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from deploy.grafana.source import (
    delivery,
    encoder,
    latency,
    overview,
    processes,
    runbooks,
    streams,
    temporal,
)

FOLDER = Path(__file__).parents[1] / "dashboards"


def dashboards() -> dict[str, str]:
    """The text of every file, by its path below `FOLDER`."""
    made = {
        f"streamer/{board.uid}.json": board
        for board in (
            module.dashboard()
            for module in (overview, streams, latency, encoder, temporal, delivery, processes)
        )
    }
    made |= {f"runbooks/{name}.json": runbooks.runbook(name) for name in runbooks.runbook_names()}
    return {
        path: json.dumps(board, cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False)
        + "\n"
        for path, board in made.items()
    }


def main() -> None:
    """Write those that are wanted, remove others."""
    wanted = dashboards()
    for path in FOLDER.rglob("*.json"):
        if str(path.relative_to(FOLDER)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
