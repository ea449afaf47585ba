"""A real MLflow server and a real S3 server, in an environment of their own that is made once.

They are large (most of a gigabyte), so they are no part of what developers install. The tests that
use them talk to them over loopback only.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import uv

from tests.lab.cache import built_once, cache_folder, key_of
from tests.lab.programs import run
from tests.web_server import free_port

REQUIREMENTS = ("mlflow>=3,<4", "moto[server]>=5,<6", "s3fs>=2026.1")
START_SECONDS = 240.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
BUCKET_ACCOUNT = {"AWS_ACCESS_KEY_ID": "the-key", "AWS_SECRET_ACCESS_KEY": "the-secret"}


def environment() -> Path:
    """The folder of the environment: venv/, and the empty database of an MLflow server."""
    folder = cache_folder() / f"model-tools-{key_of(sys.version, *REQUIREMENTS)}"
    return built_once(folder, partial(_build))


def packages() -> Path:
    """The folder with the packages, for PYTHONPATH of a Python of our own version."""
    return next((environment() / "venv/lib").glob("python3.*/site-packages"))


@dataclass(frozen=True)
class Mlflow:
    """A server that runs.

    Attributes:
        url: of it.
    """

    url: str

    def call(self, method: str, what: str, **fields: Any) -> Any:
        """Call its REST API, and return what it answers."""
        sent: Any = {"params": fields} if method == "GET" else {"json": fields}
        answer = httpx.request(method, f"{self.url}/api/2.0/mlflow/{what}", timeout=60, **sent)
        answer.raise_for_status()
        return answer.json()

    def register(self, name: str, files: Mapping[str, bytes], metrics: Mapping[str, float]) -> str:
        """Make a run with these metrics and files, and a version of the model; its number."""
        run = self.call("POST", "runs/create", experiment_id="0")["run"]["info"]
        for key, value in metrics.items():
            self.call(
                "POST", "runs/log-metric", run_id=run["run_id"], key=key, value=value, timestamp=1
            )
        place = f"{run['artifact_uri']}/model"
        assert place.startswith("mlflow-artifacts:/")
        for path, content in files.items():
            where = place.removeprefix("mlflow-artifacts:/")
            url = f"{self.url}/api/2.0/mlflow-artifacts/artifacts/{where}/{path}"
            httpx.put(url, content=content, timeout=60).raise_for_status()
        with contextlib.suppress(httpx.HTTPStatusError):  # it is there already
            self.call("POST", "registered-models/create", name=name)
        made = self.call(
            "POST", "model-versions/create", name=name, source=place, run_id=run["run_id"]
        )
        return str(made["model_version"]["version"])

    def alias(self, name: str, alias: str, version: str) -> None:
        self.call("POST", "registered-models/alias", name=name, alias=alias, version=version)


@contextlib.contextmanager
def mlflow(folder: Path) -> Iterator[Mlflow]:
    """An MLflow server that keeps everything in this folder and hands out artifacts itself."""
    database = folder / "mlflow.sqlite"
    shutil.copy(environment() / "mlflow.sqlite", database)
    variables = {
        # What `mlflow server` gives to the web server that it starts.
        "_MLFLOW_SERVER_FILE_STORE": f"sqlite:///{database}",
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "artifacts"),
    }
    server = ["uvicorn", "--host", "127.0.0.1", "mlflow.server.fastapi_app:app", "--port"]
    with _running(server, "/health", variables, folder) as url:
        yield Mlflow(url)


@contextlib.contextmanager
def s3(folder: Path) -> Iterator[str]:
    """The address of an S3 server with nothing in it."""
    with _running(["moto.server", "--host", "127.0.0.1", "--port"], "/", {}, folder) as url:
        yield url


@contextlib.contextmanager
def _running(
    module: Sequence[str], health: str, variables: Mapping[str, str], folder: Path
) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = folder / f"{module[0]}.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(environment() / "venv/bin/python"), "-m", *module, str(port)],
            cwd=folder,
            env={**os.environ, **QUIET, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            _await(url + health, server, log)
            yield url
        finally:
            server.terminate()


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=5).status_code < 500:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def _build(folder: Path) -> None:
    folder.mkdir()
    quietly = partial(run, env={**os.environ, **QUIET})
    program, venv = uv.find_uv_bin(), folder / "venv"
    quietly([program, "venv", "--quiet", "--python", sys.executable, str(venv)])
    quietly([program, "pip", "install", "--quiet", "--python", str(venv), *REQUIREMENTS])
    database = f"sqlite:///{folder}/mlflow.sqlite"
    quietly([str(venv / "bin/python"), "-m", "mlflow", "db", "upgrade", database])
    # The experiment that a server makes at its first start.
    quietly(
        [
            str(venv / "bin/python"),
            "-c",
            "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore;"
            " SqlAlchemyStore(sys.argv[1], 'mlflow-artifacts:/')",
            database,
        ]
    )
