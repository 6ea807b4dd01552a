"""Panels in one style. A panel has a title, a unit and a description that says what to look for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmap_kinds
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

HEIGHT = 8
"""Of a panel, in units of the grid; all have it except those that show one number."""

STAT_HEIGHT = 4

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"

AnyPanel = TypeVar(
    "AnyPanel",
    bargauge.Panel,
    heatmap.Panel,
    stat.Panel,
    statetimeline.Panel,
    table.Panel,
    timeseries.Panel,
)


@dataclass(frozen=True, slots=True)
class Query:
    """A line of PromQL.

    Attributes:
        expr: The expression.
        legend: Name of its series, `{{label}}` for a label.
    """

    expr: str
    legend: str = ""


def lines(
    title: str,
    text: str,
    *queries: Query,
    unit: str,
    width: int = 12,
    stacked: bool = False,
    exemplars: bool = False,
    budget: bool = False,
    steps: Sequence[tuple[float | None, str]] = (),
    runbooks: Sequence[str] = (),
) -> timeseries.Panel:
    """Values over time.

    Args:
        title: What is shown.
        text: What it means and what to look for.
        queries: Of its series.
        unit: Grafana's id of the unit.
        width: Of 24.
        stacked: Whether the values add up.
        exemplars: Whether to show traces.
        budget: Whether to draw the latency budget.
        steps: Thresholds, drawn as lines.
        runbooks: Alerts that watch this.
    """
    panel = timeseries.Panel().fill_opacity(25 if stacked else 5).line_width(1)
    panel.show_points(kinds.VisibilityMode.NEVER)
    panel.tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.TABLE)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL).group("A"))
    if budget:
        queries = (*queries, Query("max(streamer_latency_budget_seconds)", "budget"))
        dashed = {"fill": "dash", "dash": [8, 8]}
        panel.override_by_name(
            "budget",
            [
                models.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": RED}),
                models.DynamicConfigValue("custom.lineStyle", dashed),
                models.DynamicConfigValue("custom.fillOpacity", 0),
            ],
        )
    if steps:
        style = common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(_thresholds(steps)).thresholds_style(style)
    for index, query in enumerate(queries):
        panel.with_target(target_of(query, index).range().exemplar(exemplars))
    return framed(panel, title, text, unit=unit, width=width, runbooks=runbooks).min(0)


def waterfall(title: str, text: str, *queries: Query, unit: str, width: int) -> timeseries.Panel:
    """Parts of a whole over time, as stacked bars in the order of the queries."""
    panel = lines(title, text, *queries, unit=unit, width=width, stacked=True)
    return panel.draw_style(kinds.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)


def number(
    title: str,
    text: str,
    expr: str,
    *,
    unit: str,
    width: int = 4,
    steps: Sequence[tuple[float | None, str]] = ((None, BLUE),),
    runbooks: Sequence[str] = (),
) -> stat.Panel:
    """One number, now, in the colour of its threshold."""
    panel = stat.Panel().thresholds(_thresholds(steps)).graph_mode(kinds.BigValueGraphMode.AREA)
    panel.color_mode(kinds.BigValueColorMode.VALUE)
    panel.with_target(target_of(Query(expr), 0).range())
    return framed(panel, title, text, unit=unit, width=width, runbooks=runbooks).height(STAT_HEIGHT)


def bars(title: str, text: str, *queries: Query, unit: str, width: int = 8) -> bargauge.Panel:
    """One bar per series, now, in the order of the queries."""
    panel = bargauge.Panel().orientation(kinds.VizOrientation.HORIZONTAL)
    panel.display_mode(kinds.BarGaugeDisplayMode.BASIC).min(0)
    panel.thresholds(_thresholds([(None, BLUE)]))
    for index, query in enumerate(queries):
        panel.with_target(target_of(query, index).instant())
    return framed(panel, title, text, unit=unit, width=width)


def heat(title: str, text: str, metric: str, *, unit: str, width: int = 12) -> heatmap.Panel:
    """How the values of a histogram are spread over time.

    Args:
        title: What is shown.
        text: What it means and what to look for.
        metric: The histogram, with its selector if any.
        unit: Of the values.
        width: Of 24.
    """
    name, _, selector = metric.partition("{")
    buckets = f"{name}_bucket{'{' + selector if selector else ''}[$__rate_interval]"
    panel = heatmap.Panel().calculate(False).cell_gap(1)
    panel.color(
        heatmap.HeatmapColorOptions()
        .mode(heatmap_kinds.HeatmapColorMode.SCHEME)
        .scheme("Oranges")
        .steps(64)
    )
    panel.y_axis(heatmap.YAxisConfig().unit(unit))
    query = Query(f"sum by (le) (increase({buckets}))", "{{le}}")
    panel.with_target(target_of(query, 0).range().format(PromQueryFormat.HEATMAP).exemplar(True))
    return framed(panel, title, text, unit="short", width=width)


def states(
    title: str,
    text: str,
    expr: str,
    *,
    legend: str,
    values: Mapping[int, tuple[str, str]],
    width: int = 24,
    runbooks: Sequence[str] = (),
) -> statetimeline.Panel:
    """A row per series, coloured by its state over time.

    Args:
        title: What is shown.
        text: What it means and what to look for.
        expr: Gives a number per series.
        legend: Name of a row.
        values: Text and colour of each number.
        width: Of 24.
        runbooks: Alerts that watch this.
    """
    options = {
        str(value): models.ValueMappingResult(text=name, color=color, index=index)
        for index, (value, (name, color)) in enumerate(values.items())
    }
    panel = statetimeline.Panel().mappings([models.ValueMap(options)])
    panel.show_value(kinds.VisibilityMode.AUTO).merge_values(True).per_page(20)
    panel.line_width(0).fill_opacity(70)
    panel.with_target(target_of(Query(expr, legend), 0).range())
    return framed(panel, title, text, unit="short", width=width, runbooks=runbooks)


def labels_timeline(
    title: str, text: str, expr: str, *, row: str, label: str, width: int = 24
) -> statetimeline.Panel:
    """A row per value of `row`; its states are the values of `label`, whatever they are called."""
    panel = statetimeline.Panel().merge_values(True).per_page(20)
    panel.line_width(0).fill_opacity(70)
    panel.show_value(kinds.VisibilityMode.AUTO)
    panel.color_scheme(dashboard.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
    panel.with_target(target_of(Query(expr), 0).range().format(PromQueryFormat.TABLE))
    keep = "|".join(["Time", row, label])
    for name, options in (
        ("filterFieldsByName", {"include": {"pattern": f"^({keep})$"}}),
        ("sortBy", {"sort": [{"field": "Time"}]}),
        (
            "partitionByValues",
            {"fields": [row], "keepFields": False, "naming": {"asLabels": True}},
        ),
    ):
        panel.with_transformation(models.DataTransformerConfig(id_val=name, options=options))
    panel.display_name(f"${{__field.labels.{row}}}")
    return framed(panel, title, text, unit="short", width=width)


def runbook_url(alert: str) -> str:
    """Where Grafana shows the runbook of an alert."""
    return f"/d/runbook-{alert}"


def framed(
    panel: AnyPanel,
    title: str,
    text: str,
    *,
    unit: str,
    width: int,
    runbooks: Sequence[str] = (),
) -> AnyPanel:
    """Give a panel its title, text, unit, size and links."""
    panel.title(title).description(text).unit(unit).span(width).height(HEIGHT)
    panel.datasource(DATASOURCE)
    if runbooks:
        panel.links(
            [dashboard.DashboardLink(f"Runbook: {r}").url(runbook_url(r)) for r in runbooks]
        )
    return panel


def ref_of(index: int) -> str:
    """The letter of a query."""
    return chr(ord("A") + index)


def target_of(query: Query, index: int) -> prometheus.Dataquery:
    """What Grafana asks for a query."""
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref_of(index)).datasource(DATASOURCE)
    return target.legend_format(query.legend or "__auto")


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    made = [models.Threshold(value=value, color=color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)
