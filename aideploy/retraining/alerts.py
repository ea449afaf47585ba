"""What Alertmanager posts, and whether it asks for a training. Pure.

Format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config (version 4)
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

MOST_BYTES = 1024 * 1024
_BEARER = "bearer "


class BadAlerts(ValueError):
    """The body is not what Alertmanager posts; the text says why."""


class _Alert(BaseModel):
    status: str
    labels: dict[str, str] = {}


class _Posted(BaseModel):
    alerts: list[_Alert]


@dataclass(frozen=True)
class Wanted:
    """Of what an alert has to speak to be meant: one that names no app or environment may be."""

    app: str
    environment: str

    def firing(self, body: bytes) -> tuple[str, ...]:
        """Return the names of the alerts in this body that ask for a training.

        Raises:
            BadAlerts: it is not what Alertmanager posts.
        """
        try:
            posted = _Posted.model_validate_json(body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            raise BadAlerts(f"{where}: {first['msg']}".removeprefix(": ")) from None
        names = (
            alert.labels.get("alertname", "an alert without a name")
            for alert in posted.alerts
            if alert.status == "firing" and self._is_meant(alert.labels)
        )
        return tuple(dict.fromkeys(names))

    def _is_meant(self, labels: Mapping[str, str]) -> bool:
        return (labels.get("app") or self.app) == self.app and (
            labels.get("env") or self.environment
        ) == self.environment


def is_allowed(header: str | None, token: str) -> bool:
    """Whether the header `Authorization` carries this token; takes as long for any wrong one."""
    sent = header or ""
    if not sent.lower().startswith(_BEARER):
        return False
    return hmac.compare_digest(sent[len(_BEARER) :].strip().encode(), token.encode())
