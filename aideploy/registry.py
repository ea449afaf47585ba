"""What an MLflow registry knows of a model: which version an alias means, and where its files are.

Asked by the controller before the first connection, so that a wrong alias is a mistake that changes
nothing and every host fetches the same version. MLflow's REST API 2.0:
https://mlflow.org/docs/latest/rest-api.html
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aideploy.errors import AideployError, HostNotReady, UsageError, words_of
from aideploy.settings.secrets import as_token

if TYPE_CHECKING:
    import httpx

    from aideploy.settings.source import Model

_ANSWER_SECONDS = 15.0
_PAUSES_SECONDS = (0.5, 2.0)
_USER, _PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"
_TOKEN = "MLFLOW_TRACKING_TOKEN"  # noqa: S105  # a name


@dataclass(frozen=True)
class Registered:
    """One version of a registered model.

    Args:
        name, version: of it.
        run: the id of the run that made it, or empty.
        artifacts: where its files are: a URL or mlflow-artifacts:/….
        metrics: of that run, the last value of each.
    """

    name: str
    version: str
    run: str
    artifacts: str
    metrics: Mapping[str, float] = field(default_factory=dict)


def look_up(model: Model, secrets: Mapping[str, str]) -> Registered:
    """Ask the registry what [model] source means now.

    Args:
        model: its source begins with models:/.
        secrets: the values of its token and secrets.

    Raises:
        SettingsError: no header can hold the token.
        UsageError: the registry knows no such model, alias or version.
        HostNotReady: it does not answer, or does not let us in.
    """
    import httpx

    assert model.registered, "no model of a registry"
    name, alias, version = model.registered
    address = f"{str(model.tracking_uri).rstrip('/')}/api/2.0/mlflow/"
    which = model.token or _TOKEN
    token = secrets.get(which)
    headers = {"Authorization": f"Bearer {as_token(token, which)}"} if token else {}
    user = None if token else secrets.get(_USER)
    auth = (user, secrets.get(_PASSWORD, "")) if user else None
    with httpx.Client(
        base_url=address, headers=headers, auth=auth, timeout=_ANSWER_SECONDS
    ) as client:
        registry = _Registry(client, str(model.tracking_uri))
        what = "registered-models/alias" if alias else "model-versions/get"
        query = {"name": name, "alias": alias} if alias else {"name": name, "version": version}
        found = registry.ask(what, query).get("model_version", {})
        version, run = str(found.get("version", version)), str(found.get("run_id") or "")
        place = registry.ask("model-versions/get-download-uri", {"name": name, "version": version})
        metrics = registry.metrics(run) if run else {}
    artifacts = str(place.get("artifact_uri", ""))
    if not artifacts:
        raise registry.strange(f"it does not say where version {version} of {name} is")
    return Registered(name, version, run, artifacts, metrics)


class _Registry:
    """The REST API of one server."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self._client = client
        self._address = address

    def ask(self, what: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        answer = self._answer(what, query)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not isinstance(said, dict):
            raise self.strange(f"{what} answered {answer.status_code} with no JSON object")
        if answer.is_success:
            return said
        raise self._refused(answer.status_code, str(said.get("message", "")))

    def metrics(self, run: str) -> Mapping[str, float]:
        """Return the metrics of a run; a run that was deleted has none any more."""
        try:
            found = self.ask("runs/get", {"run_id": run})
        except UsageError:
            return {}
        metrics = found.get("run", {}).get("data", {}).get("metrics", [])
        numbers = {str(one["key"]): float(one["value"]) for one in metrics if "value" in one}
        # JSON has no NaN and no infinity, so release.json could not hold them.
        return {key: value for key, value in numbers.items() if math.isfinite(value)}

    def strange(self, why: str) -> AideployError:
        return HostNotReady(
            f"{self._address} does not answer as an MLflow server should",
            why=why,
            next_step="check [model] tracking_uri",
        )

    def _answer(self, what: str, query: Mapping[str, str]) -> httpx.Response:
        """Ask, and once more after each pause while the server is busy or cannot be reached."""
        import httpx

        why = ""
        for pause in (*_PAUSES_SECONDS, None):
            try:
                answer = self._client.get(what, params=dict(query))
                if answer.status_code not in (429, 502, 503, 504):
                    return answer
                why = f"it answered {answer.status_code} {answer.reason_phrase}"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = words_of(error)
            if pause is not None:
                time.sleep(pause)
        raise HostNotReady(
            f"the MLflow server {self._address} cannot be asked",
            why=why,
            next_step="see whether it is up, then run the same command again; nothing was changed",
        )

    def _refused(self, status: int, message: str) -> AideployError:
        if status in (401, 403):
            return HostNotReady(
                f"the MLflow server {self._address} does not let us in ({status})",
                why=message,
                next_step=f"name {_TOKEN}, or {_USER} and {_PASSWORD}, in [model] secrets",
            )
        if status >= 500:
            return HostNotReady(
                f"the MLflow server {self._address} answered {status}",
                why=message,
                next_step="see its log, then run the same command again",
            )
        return UsageError(
            "the MLflow registry does not know the model",
            why=message or f"it answered {status}",
            next_step="correct [model] source; nothing was changed",
        )
