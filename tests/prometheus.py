"""A real Prometheus server on loopback, for tests that ask one.

Its series come from what it scrapes, or were written before it starts (`blocks`, by promtool).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest

from tests.needed import need
from tests.web_server import Answer, WebServer, answering, free_port

START_SECONDS = 30.0


class PrometheusServer:
    """One server. Use as a context manager.

    Args:
        folder: its own; configuration, data and log go there.
        configuration: prometheus.yml; without it nothing is scraped until `scrape` says what.
        arguments: more of the command line.
    """

    def __init__(
        self, folder: Path, configuration: str | None = None, *, arguments: Sequence[str] = ()
    ) -> None:
        self._program = need("prometheus")
        self._folder = folder
        self._arguments = arguments
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.file = folder / "prometheus.yml"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if configuration is None:
            self.scrape()
        else:
            self.file.write_text(configuration)

    def scrape(self, *targets: str, labels: dict[str, str] | None = None) -> None:
        """Scrape these ("host:port") each second; to be said before it starts."""
        static = [{"targets": list(targets), "labels": labels or {}}]
        # JSON is YAML, too.
        self.file.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                    "scrape_configs": [{"job_name": "tests", "static_configs": static}],
                }
            )
        )

    def blocks(self, openmetrics: str) -> None:
        """Write series that were before: OpenMetrics text with timestamps, "# EOF" at its end."""
        source = self._folder / "series.om"
        source.write_text(openmetrics)
        subprocess.run(
            [need("promtool"), "tsdb", "create-blocks-from", "openmetrics", source, self._data],
            check=True,
            capture_output=True,
        )

    def __enter__(self) -> PrometheusServer:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self.file}",
                    f"--storage.tsdb.path={self._data}",
                    f"--web.listen-address=127.0.0.1:{self.port}",
                    "--web.enable-lifecycle",
                    "--storage.tsdb.retention.time=10y",
                    *self._arguments,
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        end = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.__exit__()
                raise AssertionError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=START_SECONDS)
            self._process = None

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/-/ready", timeout=2).is_success
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes itself."""
    server = PrometheusServer(tmp_path_factory.mktemp("prometheus"))
    server.scrape(f"127.0.0.1:{server.port}", labels={"app": "itself"})
    with server:
        yield server


def exposed(text: str) -> WebServer:
    """Return a server that shows these metrics."""
    answer = Answer(text.encode(), kind="text/plain; version=0.0.4")
    return WebServer(answering(lambda _: answer))
