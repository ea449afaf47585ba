"""A server of monitoring, spoken to over HTTP: what Prometheus and Grafana have in common.

`prometheus_api` and `grafana_api` stand on it. What lets us in is in headers and nowhere else.
httpx is imported when a client is made, because it takes its time.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from aideploy.errors import AideployError, SettingsError, words_of
from aideploy.settings.secrets import as_token

if TYPE_CHECKING:
    import httpx

    from aideploy.settings.monitoring import Access

_LONGEST_ECHO = 200


class MonitoringUnavailable(AideployError):
    """The server gave no answer that could be used; nothing is known."""


class Server:
    """One server. Use as a context manager; may be used from several threads.

    Args:
        access: where it is, what lets us in, how long to wait.
        secrets: the values of the secrets that `access` names.
        base_dir: what the path of `ca` is relative to.

    Raises:
        SettingsError: the token or the file of the certificate authority cannot be used.
    """

    name: ClassVar[str]
    cannot_be: ClassVar[str]  # What it is when nobody is there: "asked", "told".

    def __init__(self, access: Access, secrets: Mapping[str, str], base_dir: Path) -> None:
        self.address = access.url
        self._client = _client(access, secrets, base_dir)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _request(self, method: str, path: str, **what: Any) -> httpx.Response:
        """Ask or tell, and return the answer, whatever it is.

        Raises:
            MonitoringUnavailable: there is none.
        """
        import httpx

        try:
            return self._client.request(method, path, **what)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            late = isinstance(error, httpx.TimeoutException)
            raise MonitoringUnavailable(
                f"{self.name} at {self.address} cannot be {self.cannot_be}",
                why="no answer in time" if late else words_of(error),
                next_step=f"see whether it is up, and {self._check_url}",
            ) from error

    def _strange(self, why: str) -> MonitoringUnavailable:
        return MonitoringUnavailable(
            f"{self.address} does not answer as {self.name} should",
            why=shortened(why),
            next_step=self._check_url,
        )

    @property
    def _check_url(self) -> str:
        return f"check [monitoring.{self.name.lower()}] url"


def shortened(text: str) -> str:
    """Return what fits on the screen of what somebody else wrote."""
    return text if len(text) <= _LONGEST_ECHO else f"{text[:_LONGEST_ECHO]}…"


def _client(access: Access, secrets: Mapping[str, str], base_dir: Path) -> httpx.Client:
    import httpx

    headers = {"User-Agent": "aideploy"}
    if access.token:
        headers["Authorization"] = f"Bearer {as_token(secrets[access.token], access.token)}"
    auth = None
    if access.username:
        auth = (access.username, secrets[access.password] if access.password else "")
    trusted: ssl.SSLContext | bool = True
    if access.ca:
        file = base_dir / access.ca.expanduser()
        try:
            trusted = ssl.create_default_context(cafile=file)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"the certificate authority {file} cannot be used",
                problems=(getattr(error, "strerror", None) or str(error),),
                next_step="name a PEM file in `ca`",
            ) from error
    return httpx.Client(
        base_url=f"{access.url}/",
        headers=headers,
        auth=auth,
        verify=trusted,
        timeout=access.timeout.total_seconds(),
    )
