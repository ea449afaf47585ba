"""One dashboard put together: its rows of panels, the choices at its top, what happened as marks.

All dashboards have the same choices (data source, app, environment) and show deploys and rollbacks
as regions, which `report/grafana_annotation.py` writes. Grafana's documentation: "Dashboard JSON
model", "Variable syntax", "Annotate visualizations".
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.runtime import UnknownDataquery
from grafana_foundation_sdk.models import common, dashboard

from aideploy.monitoring.dashboards.panels import DATASOURCE, WHOLE_WIDTH, Panel
from aideploy.monitoring.grafana import DATASOURCE_UID

# Labels that choose by what is chosen at the top: the app, its hosts, the app's series of those.
OF_APP = 'app="$app",env="$env"'
OF_HOSTS = 'host=~"$host"'
CHOSEN = f"{OF_APP},{OF_HOSTS}"

_LONGEST_UID = 40  # Grafana takes no more
_OWN = common.DataSourceRef(type_val="grafana", uid="-- Grafana --")


@dataclass(frozen=True)
class Choice:
    """What can be chosen at the top of a dashboard.

    Args:
        name: of the variable.
        label: for people.
        among: the query that finds what there is.
        several: several may be chosen; at first all are.
        any_value: the regular expression that "all" stands for; by default all that were found.
        current: what is chosen at first; by default the first, or all.
    """

    name: str
    label: str
    among: str
    several: bool = False
    any_value: str | None = None
    current: str | None = None


EVERY_HOST = Choice(
    "host",
    "Host",
    f'label_values({{__name__=~"up|aideploy_release_info",{OF_APP}}}, host)',
    several=True,
)


@dataclass(frozen=True)
class Row:
    """Some panels below one title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Board:
    """A dashboard of an app.

    Args:
        kind: which one, in one word; names the file.
        title: for people.
        says: what it answers.
        choices: beside data source, app and environment.
        rows: what it shows.
        since: the time that it shows at first.
    """

    kind: str
    title: str
    says: str
    choices: Sequence[Choice]
    rows: Sequence[Row]
    since: str = "now-6h"


def as_json(board: Board, app: str) -> str:
    """Return the dashboard as Grafana reads it, the same text every time."""
    builder = (
        builders.Dashboard(f"{app}: {board.title}")
        .uid(uid(board.kind, app))
        .description(board.says)
        .tags(["aideploy", f"app:{app}"])
        .editable()
        .refresh("30s")
        .time(board.since, "now")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .link(_link_to_the_others(app))
        .with_variable(_data_source())
    )
    for choice in (*_everywhere(app), *board.choices):
        builder.with_variable(_variable(choice))
    for row in board.rows:
        builder.with_row(builders.Row(row.title))
        for panel in row.panels:
            builder.with_panel(panel)
    made = builder.build()
    made.annotations = dashboard.AnnotationContainer(
        list_val=[
            _built_in(),
            _marks("Deploys", "blue", "deploy"),
            _marks("Rollbacks", "orange", "rollback"),
        ]
    )
    _arrange(made.panels or ())
    return json.dumps(made, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def uid(kind: str, app: str) -> str:
    """Return by which name the dashboard is known to Grafana, in its address."""
    name = f"aideploy-{app}-{kind}"
    if len(name) <= _LONGEST_UID:
        return name
    return f"{name[: _LONGEST_UID - 9]}-{sha256(name.encode()).hexdigest()[:8]}"


def _arrange(panels: Sequence[dashboard.Panel | dashboard.RowPanel]) -> None:
    """Number the panels and place them, left to right; the SDK lets them leave the page."""
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        panel.id_val = number
        place = panel.grid_pos or dashboard.GridPos()
        if x + place.w > WHOLE_WIDTH or isinstance(panel, dashboard.RowPanel):
            x, y, height = 0, y + height, 0
        panel.grid_pos = dashboard.GridPos(x=x, y=y, w=place.w, h=place.h)
        x, height = x + place.w, max(height, place.h)


def _everywhere(app: str) -> tuple[Choice, ...]:
    return (
        Choice("app", "App", 'label_values(up{app!=""}, app)', current=app),
        Choice("env", "Environment", 'label_values(up{app="$app"}, env)'),
    )


def _data_source() -> builders.DatasourceVariable:
    return (
        builders.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(dashboard.VariableOption(text="Prometheus", value=DATASOURCE_UID))
    )


def _variable(choice: Choice) -> builders.QueryVariable:
    variable = (
        builders.QueryVariable(choice.name)
        .label(choice.label)
        .datasource(DATASOURCE)
        .query(choice.among)
        .definition(choice.among)
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
        .multi(choice.several)
        .include_all(choice.several)
    )
    if choice.any_value is not None:
        variable.all_value(choice.any_value)
    if choice.several:
        variable.current(dashboard.VariableOption(text=["All"], value=["$__all"]))
    elif choice.current is not None:
        variable.current(dashboard.VariableOption(text=choice.current, value=choice.current))
    return variable


def _built_in() -> dashboard.AnnotationQuery:
    """Return what every dashboard has: the marks that people set on it by hand."""
    return dashboard.AnnotationQuery(
        name="Annotations & Alerts",
        datasource=_OWN,
        hide=True,
        icon_color="rgba(0, 211, 255, 1)",
        type_val="dashboard",
        built_in=1,
    )


def _marks(name: str, color: str, tag: str) -> dashboard.AnnotationQuery:
    target = dashboard.AnnotationTarget(
        limit=100, match_any=False, tags=[tag, "app:$app", "env:$env"], type_val="tags"
    )
    return dashboard.AnnotationQuery(
        name=name,
        datasource=_OWN,
        icon_color=color,
        # The SDK's own word for it is "TODO": no type of a query fits Grafana's own.
        target=UnknownDataquery(target.to_json()),
    )


def _link_to_the_others(app: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink("All dashboards of the app")
        .type(dashboard.DashboardLinkType.DASHBOARDS)
        .tags(["aideploy", f"app:{app}"])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
