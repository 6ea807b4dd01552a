"""Tables: a row per value of a label, a column per query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source.panels import Query, framed, ref_of, target_of

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Column:
    """Of a table.

    Attributes:
        title: Its heading; empty: only its labels are of interest, not its value.
        expr: One value per row; without one the column is a label of the first that has it.
        unit: Grafana's id of the unit.
        url: Where its cells link to.
    """

    title: str = ""
    expr: str = ""
    unit: str = ""
    url: str = ""


def rows(
    title: str, text: str, columns: Sequence[Column], *, by: str, width: int = 24
) -> table.Panel:
    """A row per value of the label `by`, a column per query.

    Args:
        title: What is shown.
        text: What it means and what to look for.
        columns: The first names the label `by`; the others have an expression each.
        by: The label.
        width: Of 24.
    """
    panel = table.Panel().filterable(True)
    values = [column for column in columns if column.expr]
    names = {by: columns[0].title}
    for index, column in enumerate(values):
        target = target_of(Query(column.expr), index).instant().format(PromQueryFormat.TABLE)
        panel.with_target(target)
        if column.title:
            names["Value" if len(values) == 1 else f"Value #{ref_of(index)}"] = column.title
    names |= {column.title: column.title for column in columns[1:] if not column.expr}
    order = {name: index for index, name in enumerate(names)}
    for name, options in (
        ("joinByField", {"byField": by, "mode": "outer"}),
        ("filterFieldsByName", {"include": {"names": list(names)}}),
        ("organize", {"renameByName": names, "indexByName": order}),
    ):
        if name != "joinByField" or len(values) > 1:
            panel.with_transformation(models.DataTransformerConfig(id_val=name, options=options))
    for column in columns:
        settings = []
        if column.unit:
            settings.append(models.DynamicConfigValue("unit", column.unit))
        if column.url:
            link = {"title": column.title, "url": column.url}
            settings.append(models.DynamicConfigValue("links", [link]))
        if settings:
            panel.override_by_name(column.title, settings)
    return framed(panel, title, text, unit="short", width=width)
