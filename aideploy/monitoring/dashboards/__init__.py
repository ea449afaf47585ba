"""The dashboards of an app, made of what is measured: which questions, in which order, as what.

Grafana's SDK makes them. It is an optional dependency: this package is imported where somebody has
looked for it (`monitoring/grafana.py`), and imports it at the top. The JSON is of the classic kind:
the SDK would prefer the newer one ("v2"), which a Grafana before 12 cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping

from aideploy.monitoring.dashboards.asking import Questions
from aideploy.monitoring.dashboards.board import as_json
from aideploy.monitoring.dashboards.canary import canary
from aideploy.monitoring.dashboards.gpus import gpus
from aideploy.monitoring.dashboards.model import model
from aideploy.monitoring.dashboards.releases import releases
from aideploy.monitoring.dashboards.service import service
from aideploy.monitoring.presets import signals
from aideploy.settings.monitoring import Exporter, Monitoring


def dashboards(app: str, monitoring: Monitoring) -> Mapping[str, str]:
    """Return the JSON of each dashboard by its kind.

    It is the same for all environments of an app, which are chosen on the dashboard.

    Args:
        app: the name of the application.
        monitoring: what there is to see.
    """
    questions = Questions(signals(monitoring))
    boards = [
        service(monitoring, questions),
        model(monitoring, questions),
        releases(monitoring),
        canary(questions),
    ]
    if Exporter.NVIDIA in monitoring.exporters:
        boards.append(gpus())
    return {board.kind: as_json(board, app) for board in boards}
