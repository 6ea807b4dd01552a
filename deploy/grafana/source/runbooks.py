"""The runbooks of the documentation as dashboards: pages that an alert can link to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard, text
from grafana_foundation_sdk.models.dashboard import DashboardLinkType
from grafana_foundation_sdk.models.text import TextMode

from deploy.grafana.source.board import RUNBOOK_TAG, TAG
from deploy.grafana.source.panels import runbook_url

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

FOLDER = Path(__file__).parents[3] / "docs" / "runbooks"
_OTHER_RUNBOOK = re.compile(r"\]\(([a-z-]+)\.md\)")
_OTHER_PAGE = re.compile(r"\[([^]]+)\]\((\.\./[^)]+)\)")


def runbook_names() -> list[str]:
    """Of the alerts that have one, as in the names of the files: `stream-down`."""
    return sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "README")


def alert_of(name: str) -> str:
    """The alert a runbook is for: `StreamDown` of `stream-down`."""
    return "".join(word.capitalize() for word in name.split("-"))


def runbook(name: str) -> Dashboard:
    """One runbook as a page."""
    alert = alert_of(name)
    content = (FOLDER / f"{name}.md").read_text()
    # Links between runbooks work here too; other pages of the documentation are named.
    content = _OTHER_RUNBOOK.sub(lambda found: f"]({runbook_url(alert_of(found[1]))})", content)
    content = _OTHER_PAGE.sub(lambda found: f"{found[1]} (docs/{found[2][3:]})", content)
    page = text.Panel().mode(TextMode.MARKDOWN).content(content).title("").span(24).height(24)
    made = dashboard.Dashboard(f"Runbook: {alert}").uid(f"runbook-{alert}").readonly()
    made.description(f"What to do when {alert} fires.").tags([RUNBOOK_TAG]).with_panel(page.id(1))
    links = dashboard.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS)
    return made.link(links.tags([TAG]).keep_time(True)).build()
