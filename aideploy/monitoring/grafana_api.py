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
from typing import TYPE_CHECKING

from pydantic import BaseModel, ValidationError

from aideploy.errors import UsageError
from aideploy.monitoring.server import MonitoringUnavailable, Server, shortened

if TYPE_CHECKING:
    import httpx

    from aideploy.settings.monitoring import Access

_LONGEST_TAG = 100  # Grafana's database takes no more


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


class Grafana(Server):
    """One Grafana; see `Server`."""

    name = "Grafana"
    cannot_be = "told"

    def __init__(self, access: Access, secrets: Mapping[str, str], base_dir: Path) -> None:
        super().__init__(access, secrets, base_dir)
        self._user = f"the token in {access.token}" if access.token else f"user {access.username}"

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
            raise self._no_grafana(answer) from None

    def change(self, number: int, annotation: Annotation) -> None:
        """Write this over an annotation; see `add`."""
        self._send("PATCH", f"api/annotations/{number}", annotation)

    def _send(self, method: str, path: str, annotation: Annotation) -> httpx.Response:
        body: dict[str, object] = {
            "text": annotation.text,
            "tags": [tag[:_LONGEST_TAG] for tag in annotation.tags],
            "time": _milliseconds(annotation.begin),
        }
        if annotation.end is not None:
            body["timeEnd"] = _milliseconds(annotation.end)
        answer = self._request(method, path, json=body)
        if answer.is_success:
            return answer
        raise self._refusal(answer)

    def _refusal(self, answer: httpx.Response) -> GrafanaRefusesUs | MonitoringUnavailable:
        said = _said(answer)
        if answer.status_code == 401:
            return GrafanaRefusesUs(
                f"Grafana at {self.address} does not know {self._user}",
                why=said,
                next_step="make a new token of a service account, and set the secret to it",
            )
        if answer.status_code == 403:
            return GrafanaRefusesUs(
                f"Grafana at {self.address} does not let us write annotations",
                why=said,
                next_step="give the service account the role Editor, or the permissions "
                "annotations:create and annotations:write",
            )
        return self._no_grafana(answer)

    def _no_grafana(self, answer: httpx.Response) -> MonitoringUnavailable:
        return self._strange(f"it answered {answer.status_code} {_said(answer)}".strip())


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _said(answer: httpx.Response) -> str:
    try:
        return shortened(_Said.model_validate_json(answer.content).message)
    except ValidationError:
        return ""
