"""The files that Grafana is provisioned from: a data source, where dashboards are, the dashboards.

`fab monitor.render` writes them, `fab monitor.push` brings them to the monitor hosts. Nothing is
decided here but their names. Grafana's documentation: "Provision Grafana".
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import PurePosixPath

from aideploy.errors import SettingsError, UsageError
from aideploy.rendering import render
from aideploy.settings import Settings

# The data source that we provision, and that dashboards take at first.
DATASOURCE_UID = "aideploy-prometheus"


def grafana_files(settings: Settings) -> Mapping[PurePosixPath, str]:
    """Return each file of the monitor hosts with its content; none without [monitoring.grafana].

    Readable by Grafana's user; no secret is in them.

    Raises:
        UsageError: Grafana's SDK is not installed.
        SettingsError: a template cannot be rendered, or a file of [monitoring.prometheus] be read.
    """
    grafana, app = settings.monitoring.grafana, settings.app.name
    if grafana is None:
        return {}
    made = dashboards(settings)
    folder = PurePosixPath(grafana.directory) / "dashboards" / f"aideploy-{app}"
    provider = render(
        "grafana/dashboards.yaml.j2",
        {"app": app, "folder": str(folder)},
        folder=settings.path.parent,
    )
    return {
        **_data_source(settings, PurePosixPath(grafana.directory)),
        folder.parent / f"aideploy-{app}.yaml": provider,
        **{folder / f"{kind}.json": text for kind, text in made.items()},
    }


def dashboards(settings: Settings) -> Mapping[str, str]:
    """Return the JSON of each dashboard by its kind; see `grafana_files`."""
    if find_spec("grafana_foundation_sdk") is None:
        raise UsageError(
            "the dashboards need Grafana's SDK, and it is not installed",
            next_step="pip install 'aideploy[grafana]', or take [monitoring.grafana] out",
        )
    from aideploy.monitoring.dashboards import dashboards as of_app

    return of_app(settings.app.name, settings.monitoring)


def _data_source(settings: Settings, directory: PurePosixPath) -> Mapping[PurePosixPath, str]:
    prometheus = settings.monitoring.prometheus
    if prometheus is None:
        # They have one, and choose it on the dashboards.
        return {}
    text = render(
        "grafana/datasource.yaml.j2",
        {
            "uid": DATASOURCE_UID,
            "url": prometheus.url,
            "username": prometheus.username,
            "password": prometheus.password,
            "token": prometheus.token,
            "ca": _certificate(settings),
        },
        folder=settings.path.parent,
    )
    return {directory / "datasources" / "aideploy.yaml": text}


def _certificate(settings: Settings) -> str | None:
    """Return the certificate authority of Prometheus: Grafana takes its text, not its place."""
    prometheus = settings.monitoring.prometheus
    if prometheus is None or prometheus.ca is None:
        return None
    file = settings.path.parent / prometheus.ca.expanduser()
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not a PEM file"
        raise SettingsError(
            f"the certificate authority {file} cannot be read",
            problems=(reason or str(error),),
            next_step="name a PEM file in [monitoring.prometheus] ca",
        ) from None
