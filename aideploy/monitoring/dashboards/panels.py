"""The kinds of panels that the dashboards are made of, each made of queries and words.

The dashboards call it; nothing here knows what is measured. It is the only module besides `board`
that speaks to Grafana's SDK, an optional dependency: whoever imports it has looked for that first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as sdk_common
from grafana_foundation_sdk.builders import dashboard as sdk_dashboard
from grafana_foundation_sdk.builders import heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

# Which one it is, is chosen at the top of each dashboard; ours is the default.
DATASOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
WHOLE_WIDTH = 24

Panel = timeseries.Panel | stat.Panel | heatmap.Panel | table.Panel


@dataclass(frozen=True)
class Line:
    """One query of a panel.

    Args:
        query: PromQL.
        name: what its lines are called; labels in double braces.
        color: of the line; None leaves it to Grafana. Needs a name without labels.
    """

    query: str
    name: str = ""
    color: str | None = None


@dataclass(frozen=True)
class Bounds:
    """Where a value begins to look bad, counted upwards; or, with `falling`, downwards."""

    warn: float
    bad: float
    falling: bool = False

    def steps(self) -> list[dashboard.Threshold]:
        """Return the colours of the value from the lowest to the highest."""
        low, middle, high = ("red", "orange", "green") if self.falling else _RISING
        first, second = (self.bad, self.warn) if self.falling else (self.warn, self.bad)
        return [
            dashboard.Threshold(value=None, color=low),
            dashboard.Threshold(value=first, color=middle),
            dashboard.Threshold(value=second, color=high),
        ]


_RISING = ("green", "orange", "red")


def graph(
    title: str,
    *lines: Line,
    unit: str = "short",
    says: str = "",
    width: int = 8,
    lowest: float | None = 0,
    limit: float | None = None,
) -> timeseries.Panel:
    """Return lines over time.

    Args:
        title: what is shown.
        lines: the queries.
        unit: Grafana's name of it.
        says: what it means when it goes up, for the person who sees that at night.
        width: of 24.
        lowest: where the axis begins; None leaves it to the values.
        limit: drawn as a red line, from which on the picture is red.
    """
    panel = (
        timeseries.Panel()
        .title(title)
        .description(says)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .legend(
            sdk_common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
        )
        .tooltip(
            sdk_common.VizTooltipOptions()
            .mode(common.TooltipDisplayMode.MULTI)
            .sort(common.SortOrder.DESCENDING)
        )
        .targets([_target(place, line) for place, line in enumerate(lines)])
    )
    if lowest is not None:
        panel.min(lowest)
    if limit is not None:
        panel.thresholds(
            _thresholds(
                [dashboard.Threshold(color="green"), dashboard.Threshold(value=limit, color="red")]
            )
        ).thresholds_style(
            sdk_common.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.LINE)
        )
    for line in lines:
        if line.color is not None:
            panel.override_by_name(line.name, [_fixed(line.color)])
    return panel


def number(
    title: str,
    *lines: Line,
    unit: str = "short",
    says: str = "",
    width: int = 4,
    bounds: Bounds | None = None,
    decimals: int | None = None,
) -> stat.Panel:
    """Return a value at the end of the time shown, large, coloured by `bounds`; see `graph`."""
    panel = (
        stat.Panel()
        .title(title)
        .description(says)
        .datasource(DATASOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .no_value("no data")
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(sdk_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([_target(place, line).instant() for place, line in enumerate(lines)])
        .thresholds(_thresholds(bounds.steps() if bounds else [dashboard.Threshold(color="text")]))
    )
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def spread(
    title: str, line: Line, *, unit: str = "short", says: str = "", width: int = 12
) -> heatmap.Panel:
    """Return how values are spread over buckets, over time; `line` gives buckets by `le`."""
    target = _target(0, line).format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(says)
        .datasource(DATASOURCE)
        .span(width)
        .height(8)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .show_legend()
        .targets([target])
    )


def listing(
    title: str, line: Line, *, says: str = "", width: int = WHOLE_WIDTH, height: int = 8
) -> table.Panel:
    """Return the labels of what a query finds now, a row each."""
    target = _target(0, line).instant().format(PromQueryFormat.TABLE)
    return (
        table.Panel()
        .title(title)
        .description(says)
        .datasource(DATASOURCE)
        .span(width)
        .height(height)
        .targets([target])
        .with_transformation(
            dashboard.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True, "Value": True}}
            )
        )
    )


def _target(place: int, line: Line) -> Dataquery:
    return (
        Dataquery()
        .ref_id(chr(ord("A") + place))
        .datasource(DATASOURCE)
        .expr(line.query)
        .legend_format(line.name)
    )


def _thresholds(steps: Sequence[dashboard.Threshold]) -> sdk_dashboard.ThresholdsConfig:
    return (
        sdk_dashboard.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(list(steps))
    )


def _fixed(color: str) -> dashboard.DynamicConfigValue:
    return dashboard.DynamicConfigValue(
        id_val="color",
        value={"mode": dashboard.FieldColorModeId.FIXED, "fixedColor": color},
    )
