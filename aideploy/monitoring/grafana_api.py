"""Grafana, told over its HTTP API what happened: annotations, and nothing else.

`report/grafana_annotation.py` writes through it. The token, or user and password, are in a header
and nowhere else.

Source: Grafana's documentation, "Annotations HTTP API". From Grafana 13 on it is called legacy, and
goes on to work; what is to follow it is not finished.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ValidationError

from aideploy.errors import UsageError
from aideploy.monitoring.prometheus_api import MonitoringUnavailable, client

if TYPE_CHECKING:
    import httpx

    from aideploy.settings.monitoring import Access

_LONGEST_TAG = 100  # Grafana's database takes no more
_LONGEST_ECHO = 200


class GrafanaRefusesUs(UsageError):
    """What lets us in is wrong, or gives no right to write annotations."""


@dataclass(frozen=True)
class Annotation:
    """Something that happened, shown on every dashboard that asks for its tags.

    Args:
        text: HTML, as Grafana takes it; names of others have to be escaped.
        tags: what it is found by.
        begin: when it began.
        end: when it ended; None while it goes on.
    """

    text: str
    tags: Sequence[str]
    begin: datetime
    end: datetime | None = None


class _Added(BaseModel):
    id: int


class _Said(BaseModel):
    message: str = ""


class Grafana:
    """One Grafana. Use as a context manager.

    Args:
        access: where it is, what lets us in, how long to wait.
        secrets: the values of the secrets that `access` names.
        base_dir: what the path of `ca` is relative to.

    Raises:
        SettingsError: the token or the file of the certificate authority cannot be used.
    """

    def __init__(self, access: Access, secrets: Mapping[str, str], base_dir: Path) -> None:
        self._access = access
        self._client = client(access, secrets, base_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def add(self, annotation: Annotation) -> int:
        """Write an annotation and return its number.

        Raises:
            GrafanaRefusesUs: we may not.
            MonitoringUnavailable: there is no answer that can be used.
        """
        answer = self._send("POST", "api/annotations", annotation)
        try:
            return _Added.model_validate_json(answer.content).id
        except ValidationError:
            raise self._strange(answer) from None

    def change(self, number: int, annotation: Annotation) -> None:
        """Write this over an annotation; see `add`."""
        self._send("PATCH", f"api/annotations/{number}", annotation)

    def _send(self, method: str, path: str, annotation: Annotation) -> httpx.Response:
        import httpx

        body: dict[str, object] = {
            "text": annotation.text,
            "tags": [tag[:_LONGEST_TAG] for tag in annotation.tags],
            "time": _milliseconds(annotation.begin),
        }
        if annotation.end is not None:
            body["timeEnd"] = _milliseconds(annotation.end)
        try:
            answer = self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise MonitoringUnavailable(
                f"Grafana at {self._access.url} cannot be told",
                why=str(error) or type(error).__name__,
                next_step="see whether it is up, and check [monitoring.grafana] url",
            ) from error
        if answer.is_success:
            return answer
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> GrafanaRefusesUs | MonitoringUnavailable:
        access, said = self._access, _said(answer)
        if answer.status_code == 401:
            which = f"the token in {access.token}" if access.token else f"user {access.username}"
            return GrafanaRefusesUs(
                f"Grafana at {access.url} does not know {which}",
                why=said,
                next_step="make a new token of a service account, and set the secret to it",
            )
        if answer.status_code == 403:
            return GrafanaRefusesUs(
                f"Grafana at {access.url} does not let us write annotations",
                why=said,
                next_step="give the service account the role Editor, or the permissions "
                "annotations:create and annotations:write",
            )
        return self._strange(answer)

    def _strange(self, answer: httpx.Response) -> MonitoringUnavailable:
        said = _said(answer)
        return MonitoringUnavailable(
            f"{self._access.url} does not answer as Grafana should ({answer.status_code})",
            why=said,
            next_step="check [monitoring.grafana] url",
        )


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _said(answer: httpx.Response) -> str:
    try:
        return _Said.model_validate_json(answer.content).message[:_LONGEST_ECHO]
    except ValidationError:
        return ""
