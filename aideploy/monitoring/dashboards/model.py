"""The dashboard of the model: how old is it, how good was it, what does it predict?"""

from __future__ import annotations

from aideploy.monitoring.dashboards.asking import Arm, Questions
from aideploy.monitoring.dashboards.board import CHOSEN, EVERY_HOST, OF_APP, Board, Row
from aideploy.monitoring.dashboards.panels import Bounds, Line, Panel, graph, number, spread
from aideploy.settings.monitoring import Monitoring


def model(monitoring: Monitoring, questions: Questions) -> Board:
    """Return the dashboard.

    Args:
        monitoring: how much drift is too much.
        questions: what can be asked of the service.
    """
    rows = [Row("Now", _now(monitoring.slo.drift)), Row("Quality and drift", _quality())]
    if predictions := _predictions(questions):
        rows.append(Row("Predictions", predictions))
    return Board(
        kind="model",
        title="Model and predictions",
        says="How old is the model, how good was it, what does it predict, and does it drift?",
        choices=(EVERY_HOST,),
        rows=rows,
        since="now-7d",
    )


def _now(drift: float) -> tuple[Panel, ...]:
    return (
        number(
            "Trained",
            Line(f"time() - max(aideploy_model_trained_timestamp_seconds{{{OF_APP}}})"),
            unit="s",
            says="The time since the live model was trained.",
        ),
        number(
            "Last good training",
            Line(f"time() - max(aideploy_training_last_success_timestamp_seconds{{{OF_APP}}})"),
            unit="s",
        ),
        number(
            "Training failed",
            Line(f"max(aideploy_training_last_failed{{{OF_APP}}})"),
            says="1: the last one failed. fab train.logs says why.",
            bounds=Bounds(1, 1),
        ),
        number(
            "Training took",
            Line(f"max(aideploy_training_duration_seconds{{{OF_APP}}})"),
            unit="s",
        ),
        number(
            "Worst drift",
            Line(f'max(aideploy_drift_score{{{CHOSEN},method="psi"}})'),
            decimals=3,
            says="The PSI of all features and of the predictions. From "
            f"{drift:g} on ([monitoring.slo] drift) somebody is told.",
            bounds=Bounds(drift / 2, drift),
        ),
        number(
            "Rows compared",
            Line(f"sum(aideploy_drift_window_rows{{{CHOSEN}}})"),
            says="Too few rows: there is no score.",
        ),
    )


def _quality() -> tuple[Panel, ...]:
    return (
        graph(
            "Metrics of the model",
            Line(
                f"max by (metric, slice) (aideploy_model_metric{{{OF_APP}}})",
                "{{metric}} {{slice}}",
            ),
            says="From metrics.json of its training: a step is a new model.",
            width=12,
            lowest=None,
        ),
        graph(
            "Drift of each feature",
            Line(
                f"max by (feature, method) (aideploy_drift_score{{{CHOSEN}}})",
                "{{feature}} {{method}}",
            ),
            says="How far the last window is from what the model was trained on. It tells how "
            "much changed, not how sure that is.",
            width=12,
        ),
    )


def _predictions(questions: Questions) -> tuple[Panel, ...]:
    arm, each = Arm(CHOSEN), Arm(CHOSEN, by=("host",))
    buckets, middle = questions.predictions(arm), questions.predicted(each, 0.5)
    if buckets is None or middle is None:
        return ()
    shares = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
    lines = {name: questions.predicted(arm, share) for name, share in shares.items()}
    return (
        spread("What is predicted", Line(buckets, "{{le}}"), width=24),
        graph(
            "Predictions",
            *(Line(asked, name) for name, asked in lines.items() if asked),
            says="A step without a deploy: what is asked has changed, or where it comes from.",
            width=12,
        ),
        graph(
            "Median of each host",
            Line(middle, "{{host}}"),
            says="One apart from the others: another model, or other features.",
            width=12,
        ),
    )
