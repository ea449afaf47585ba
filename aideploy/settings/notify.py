"""`[notify]`: who is told how a command ended."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

from aideploy.settings.table import Table, default
from aideploy.settings.values import Matches

# Either is in itself a secret: whoever knows the URL may write there.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
UrlOrSecret = Annotated[
    str,
    Matches(
        r"https?://[A-Za-z0-9._~\[\]:@-]+(?:[/?][!-~]*)?|[A-Za-z_][A-Za-z0-9_]*",
        "a URL that starts with https://, or the name of the secret that holds it",
    ),
]


class Occasion(StrEnum):
    """How a command that changes what is served can end."""

    SUCCESS = "success"
    FAILURE = "failure"
    ROLLBACK = "rollback"
    HELD = "held"


class Notify(Table):
    """Who is told how a deploy or a rollback ended."""

    webhook: UrlOrSecret | None = None
    """A URL that gets a JSON document, or the name of the secret that holds it."""

    slack: UrlOrSecret | None = None
    """The URL of an incoming webhook of Slack, or the name of the secret that holds it."""

    on: tuple[Occasion, ...] = default(("success", "failure", "rollback", "held"))
    """What is told: "success", "failure", "rollback" (the hosts went back), "held"."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that it needs."""
        return tuple(one for one in (self.webhook, self.slack) if one and _NAME.fullmatch(one))
