"""The model gate on the way of a deploy: what is asked of the hosts for it, told and refused.

Used by the story. It decides nothing about a model (`aideploy.gates.model` does), and it opens
nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aideploy.errors import Refused, UsageError
from aideploy.events import Evaluated, Events, Notice, Phase
from aideploy.gates.model import Evaluation, Judgement, evaluate
from aideploy.gates.suggestion import known_metrics, suggested_gate
from aideploy.phases import evaluate as comparing
from aideploy.phases.facts import HostFacts
from aideploy.phases.train import Trained
from aideploy.remote.session import Session

if TYPE_CHECKING:
    from aideploy.settings import Settings

Each = Callable[[Phase, Callable[[Session], Evaluation], Iterable[str]], Mapping[str, Evaluation]]


def require_gate(settings: Settings) -> None:
    """See to it, before anything is trained, that there is something to judge the model by.

    Raises:
        UsageError: there is a model, and no [[gate]] says how good it has to be.
    """
    if settings.model_path is None or settings.gates:
        return
    metrics = known_metrics(settings.path.parent / settings.metrics_file)
    raise UsageError(
        "there is no [[gate]]: nothing would say whether the model is good enough",
        why=f"what the model has to reach belongs in {settings.path.name}, for example:\n"
        f"{suggested_gate(metrics)}",
        next_step="add a [[gate]], then run the same command again; to deploy the model unjudged "
        "this time: fab deploy --no-gate, which the journal keeps",
    )


class ModelGate:
    """The gate that a model has to pass before a serve host gets it.

    Args:
        settings: of the environment.
        each: does work on hosts as a phase.
        events: where everything is told.
        who: who deploys.
        no_gate: whether they let a model pass that is not blessed.
    """

    def __init__(
        self, settings: Settings, each: Each, events: Events, *, who: str, no_gate: bool
    ) -> None:
        self._settings = settings
        self._each = each
        self._events = events
        self._who = who
        self._no_gate = no_gate
        self._host = ""

    def evaluate(
        self, release: str, trained: Trained, trained_on: str, serving: Iterable[HostFacts]
    ) -> Evaluation:
        """Judge a model, and tell the verdict.

        Args:
            release: the id of the release that it belongs to.
            trained: the model.
            trained_on: the host that trained it.
            serving: the facts of the serve hosts, which know the last good release.

        Raises:
            AideployError: the last good release cannot be asked for.
        """
        evaluation = self._evaluated(trained, trained_on, serving)
        self._events.publish(
            Evaluated(
                app=self._settings.app.name,
                environment=self._settings.environment,
                release=release,
                evaluation=evaluation,
            )
        )
        if not evaluation.blessed:
            self._warn(evaluation)
        return evaluation

    def require(self, evaluation: Evaluation, release: str) -> None:
        """Let the model pass, or refuse it.

        Raises:
            UsageError: nothing says how good it has to be.
            Refused: it is not good enough.
        """
        if evaluation.may_pass:
            return
        if evaluation.judgement is Judgement.UNJUDGED:
            require_gate(self._settings)
        raise Refused(
            f"the model gate refused {release}; nothing was switched",
            phase=Phase.EVALUATE,
            next_step="make the model better or correct [[gate]], then fab deploy; "
            "to deploy it all the same: fab deploy --no-gate, which the journal keeps",
            causes=(self._refusal(evaluation),),
        )

    def _evaluated(
        self, trained: Trained, trained_on: str, serving: Iterable[HostFacts]
    ) -> Evaluation:
        gates = self._settings.gates
        if not gates or self._settings.model_path is None:
            return self._overridden(evaluate((), None, None))
        known = comparing.earlier(serving)
        self._host = known.host if known else trained_on
        told: list[Evaluation] = []

        def work(session: Session) -> Evaluation:
            baseline = None
            if known:
                result = session.run(Phase.EVALUATE, comparing.script(known))[0]
                baseline = comparing.read(known, result)
            evaluation = evaluate(
                gates, trained.metrics_text, baseline, file=self._settings.metrics_file
            )
            told.append(self._overridden(evaluation))
            if not told[0].may_pass:
                # So that the phase shows as failed; whoever asked gets the evaluation.
                raise self._refusal(told[0])
            return told[0]

        try:
            return self._each(Phase.EVALUATE, work, [self._host])[self._host]
        except Refused:
            return told[0]

    def _overridden(self, evaluation: Evaluation) -> Evaluation:
        if evaluation.blessed or not self._no_gate:
            return evaluation
        return replace(evaluation, overridden_by=self._who)

    def _refusal(self, evaluation: Evaluation) -> Refused:
        return Refused(
            str(evaluation),
            why="\n".join(evaluation.reasons),
            host=self._host,
            phase=Phase.EVALUATE,
        )

    def _warn(self, evaluation: Evaluation) -> None:
        unjudged = evaluation.judgement is Judgement.UNJUDGED
        what = "no [[gate]] judges this model" if unjudged else "the model gate refused this model"
        if evaluation.overridden_by:
            what += f"; {evaluation.overridden_by} lets it pass all the same (--no-gate)"
        self._events.publish(Notice(text=what, level="warning"))


def journalled(evaluation: Evaluation | None) -> str:
    """Return what the journal says of a model that was let pass; nothing when it was blessed."""
    if evaluation is None or not evaluation.overridden_by:
        return ""
    unjudged = evaluation.judgement is Judgement.UNJUDGED
    return f"{'without a model gate' if unjudged else 'refused by the model gate'}, --no-gate"
