"""A dashboard around its panels: variables, annotations, links to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.source.panels import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grafana_foundation_sdk.cog.builder import Builder

TAG = "streamer"
RUNBOOK_TAG = "streamer-runbook"

Row = tuple[str, "Sequence[Builder[models.Panel]]"]


class Annotation(models.AnnotationQuery):
    """With the texts that Grafana's Prometheus data source reads and the SDK leaves out."""

    def __init__(self, name: str, *, expr: str, color: str, title: str, text: str) -> None:
        super().__init__(name, datasource=DATASOURCE, icon_color=color, expr=expr)
        self._texts = {"titleFormat": title, "textFormat": text, "step": "15s"}

    def to_json(self) -> dict[str, object]:
        """As the SDK does, with them."""
        return {**super().to_json(), **self._texts}


ANNOTATIONS = [
    Annotation(
        "Model changes",
        # Present now and on no worker a minute ago. A worker that starts with it changes nothing.
        expr="max by (name, model) "
        "(streamer_model_info unless on (model) streamer_model_info offset 1m)",
        color="purple",
        title="Model {{name}}",
        text="{{model}}",
    ),
    Annotation(
        "Outages",
        # StreamDown is only a warning, and yet an outage of that camera.
        expr="sum by (alertname, stream, role, instance) "
        '(ALERTS{alertstate="firing", severity="critical"}'
        ' or ALERTS{alertstate="firing", alertname="StreamDown"})',
        color="red",
        title="{{alertname}}",
        text="{{role}} {{instance}} {{stream}}",
    ),
]


def variable(name: str, label: str, query: str, text: str) -> Builder[models.VariableModel]:
    """A choice of label values; all of them at first."""
    made = dashboard.QueryVariable(name).label(label).description(text).datasource(DATASOURCE)
    made.query({"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
    made.multi(True).include_all(True).all_value(".*")
    made.current(models.VariableOption(text="All", value="$__all"))
    made.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
    return made.sort(models.VariableSort.ALPHABETICAL_ASC)


def stream_variable() -> Builder[models.VariableModel]:
    """Which streams to show."""
    return variable("stream", "Stream", "label_values(streamer_stream_up, stream)", "Cameras.")


def instance_variable(role: str) -> Builder[models.VariableModel]:
    """Which workers of a role to show."""
    query = f'label_values(streamer_build_info{{role="{role}"}}, instance)'
    return variable("instance", "Worker", query, f"{role.capitalize()} workers.")


def board(
    uid: str,
    title: str,
    text: str,
    rows: Sequence[Row],
    *,
    variables: Sequence[Builder[models.VariableModel]] = (),
) -> models.Dashboard:
    """A dashboard.

    Args:
        uid: Fixed, so that links stay.
        title: Its name.
        text: The question it answers.
        rows: Headings with their panels.
        variables: Beside that of the data source.
    """
    made = dashboard.Dashboard(title).uid(uid).description(text).tags([TAG]).readonly()
    made.time("now-1h", "now").refresh("10s").timezone("browser")
    made.tooltip(models.DashboardCursorSync.CROSSHAIR)
    source = dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
    made.variables([source.description("The Prometheus that scrapes streamer."), *variables])
    made.links(
        [
            dashboard.DashboardLink("Dashboards")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .keep_time(True)
            .include_vars(True),
            dashboard.DashboardLink("Runbooks")
            .type(models.DashboardLinkType.DASHBOARDS)
            .tags([RUNBOOK_TAG])
            .as_dropdown(True),
        ]
    )
    for heading, panels in rows:
        made.with_row(dashboard.Row(heading))
        for panel in panels:
            made.with_panel(panel)
    built = made.build()
    built.annotations = models.AnnotationContainer(list_val=[*ANNOTATIONS])
    for number, placed in enumerate(built.panels or [], start=1):
        placed.id_val = number
    return built
