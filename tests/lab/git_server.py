"""Bare repositories over smart HTTP, as hosts reach a forge: read-only, with or without a password.

Called by tests and benchmarks, which let it listen on the lab's `address`. A small web server that
runs `git http-backend` for each request, as its manual describes; the server takes a fleet that
fetches at once (`git daemon` does not, by default).
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.web_server import Handler, WebServer


@dataclass(frozen=True)
class Credentials:
    """What a client has to show before it may read."""

    user: str
    password: str

    @property
    def header(self) -> str:
        """The Authorization header that shows them (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


class GitServer(WebServer):
    """Serves all repositories in a folder, for the length of a `with` block.

    Args:
        folder: holds the repositories; `folder/ranker.git` is served as `url("ranker.git")`.
        address: this machine's address to listen on; the port is a free one.
        credentials: asked for if given.
    """

    def __init__(self, folder: Path, address: str, credentials: Credentials | None = None) -> None:
        handler = partial(_Handler, folder=folder.resolve(), credentials=credentials)
        super().__init__(handler, address)

    def url(self, repository: str) -> str:
        """The address of one repository, without credentials in it."""
        return f"{self.origin}/{repository}"


class _Handler(Handler):
    """One request: handed to `git http-backend` as a CGI program (RFC 3875), streamed back."""

    def __init__(self, *of_the_server: Any, folder: Path, credentials: Credentials | None) -> None:
        self._folder = folder
        self._credentials = credentials
        super().__init__(*of_the_server)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self._credentials and self.headers["Authorization"] != self._credentials.header:
            self.send_response(HTTPStatus.UNAUTHORIZED)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        if "Transfer-Encoding" in self.headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return
        body = self.body()
        with subprocess.Popen(
            ["git", "-c", "http.receivepack=false", "http-backend"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment(),
        ) as backend:
            assert backend.stdin is not None and backend.stdout is not None
            # It reads the whole request before it answers.
            backend.stdin.write(body)
            backend.stdin.close()
            status = HTTPStatus.OK
            headers: list[tuple[str, str]] = []
            while line := backend.stdout.readline().decode().strip():
                name, _, value = line.partition(": ")
                if name == "Status":
                    status = HTTPStatus(int(value.split()[0]))
                else:
                    headers.append((name, value))
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            shutil.copyfileobj(backend.stdout, self.wfile)

    def _environment(self) -> dict[str, str]:
        url = urlsplit(self.path)
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self._folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": url.path,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": self.headers["Content-Type"] or "",
            "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
        }
