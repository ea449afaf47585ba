"""Where a model lies that was made elsewhere: files, the web, MLflow's artifacts, object stores.

A library for programs that run on the hosts, by the Python of the release (3.8 or later): its own
packages are needed for some schemes, the standard library does for the others. See fetch_model.py.
What such a program has to say goes to standard output, for `hear` in telling.sh.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, NoReturn

PIECE_BYTES = 1 << 20
ANSWER_SECONDS = 30
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.5
# What a release needs in its requirements, so that fsspec understands a scheme.
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "hf": "huggingface_hub",
    "hdfs": "pyarrow",
}
TELL = os.fdopen(os.dup(1), "w", encoding="utf-8", errors="replace")


class Passing(Exception):
    """Something that may be over in a moment: a line that broke, a server that is busy."""


def tell(*words: str) -> None:
    plain = (" ".join(word.split()) for word in words)
    TELL.write("\t".join(plain) + "\n")
    TELL.flush()


def fail(code: str, message: str, next_step: str) -> NoReturn:
    tell("fail", code, message, next_step)
    sys.exit(0)


def no_source(what: str) -> NoReturn:
    fail("no-source", what, "correct [model] in hosts.toml; nothing was changed")


def refuse(what: str, next_step: str = "nothing was changed") -> NoReturn:
    fail("model-refused", what, next_step)


def shown(url: str) -> str:
    """Return a URL without what may be a secret in it: a signature in its query."""
    return url.partition("?")[0]


def patiently(work: Any) -> Any:
    """Do it, again after a pause while something passing is in the way; fail when it stays."""
    pause, attempt = FIRST_PAUSE_SECONDS, 1
    while True:
        try:
            return work()
        except Passing as error:
            if attempt == ATTEMPTS:
                give_up(error)
            tell("step", f"try again in {pause:g} s: {error}")
        time.sleep(pause)
        pause, attempt = pause * 2, attempt + 1


def give_up(error: Passing) -> NoReturn:
    fail("source-down", f"{error} ({ATTEMPTS} times)", "run the same command again when it is well")


class Files:
    """A file or a folder that every host sees: file://."""

    def __init__(self, url: str) -> None:
        self.root = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if "://" in url else url

    def names(self) -> list[tuple[str, int]]:
        """Return the path and the size of each file of a folder."""
        if not os.path.isdir(self.root):
            no_source("there is no folder " + self.root)
        found = []
        for place, _, names in os.walk(self.root):
            for name in names:
                path = os.path.join(place, name)
                found.append((os.path.relpath(path, self.root), os.path.getsize(path)))
        return found

    def open(self, name: str, offset: int) -> tuple[BinaryIO, int, int]:
        """Return a file from an offset on, the offset it really begins at, and its size (or -1)."""
        path = os.path.join(self.root, name) if name else self.root
        if os.path.isdir(path):
            no_source(path + " is a folder; the URL of a folder ends with '/'")
        try:
            file = open(path, "rb")  # noqa: SIM115  # whoever asked for it closes it
        except FileNotFoundError:
            no_source("there is no file " + path)
        except OSError as error:
            fail("source-closed", str(error), "see who may read it on the host")
        file.seek(offset)
        return file, offset, os.path.getsize(path)


class SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows to where the server points, without showing our token to somebody else."""

    def redirect_request(self, request: Any, *rest: Any) -> Any:
        followed = super().redirect_request(request, *rest)
        if followed is not None:
            before, after = map(urllib.parse.urlsplit, (request.full_url, followed.full_url))
            if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == (
                "https",
                "http",
            ):
                no_source(f"{shown(request.full_url)} points to {shown(followed.full_url)}")
            if before.netloc != after.netloc:
                followed.remove_header("Authorization")
        return followed


class Web:
    """A file behind http:// or https://."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"User-Agent": "aideploy", "Accept-Encoding": "identity"}
        if token:
            self.headers["Authorization"] = "Bearer " + os.environ[token]
        self.opener = urllib.request.build_opener(SafeRedirects())
        self.version = ""

    def names(self) -> list[tuple[str, int]]:
        no_source("a folder behind http:// cannot be listed; name an archive")

    def address(self, name: str) -> str:
        return self.url

    def open(self, name: str, offset: int) -> tuple[BinaryIO, int, int]:
        headers = dict(self.headers)
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if self.version:
                headers["If-Range"] = self.version
        answer = self.ask(self.address(name), headers)
        if answer.status == 206:
            whole = answer.headers.get("Content-Range", "").rpartition("/")[2]
            return answer, offset, int(whole) if whole.isdigit() else -1
        version = answer.headers.get("ETag", "")
        self.version = version if version.startswith('"') else ""
        length = answer.headers.get("Content-Length", "")
        return answer, 0, int(length) if length.isdigit() else -1

    def ask(self, url: str, headers: dict[str, str]) -> Any:
        # Only for http:// and https://; see origin_of and SafeRedirects.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        try:
            return self.opener.open(request, timeout=ANSWER_SECONDS)
        except urllib.error.HTTPError as error:
            self.judge(url, error)
        except urllib.error.URLError as error:
            raise Passing(f"no answer from {shown(url)}: {error.reason}") from None
        except (OSError, ValueError) as error:
            raise Passing(f"no answer from {shown(url)}: {error}") from None

    def judge(self, url: str, error: urllib.error.HTTPError) -> NoReturn:
        if error.code == 416:
            # Nothing lies behind what is here: it is complete, or was something else.
            raise EOFError
        if error.code in (401, 403, 407):
            fail(
                "source-closed",
                f"{shown(url)} answered {error.code} {error.reason}",
                "check the secret that [model] token or secrets names, and what it may read",
            )
        if error.code in (408, 425, 429) or error.code >= 500:
            raise Passing(f"{shown(url)} answered {error.code} {error.reason}")
        no_source(f"{shown(url)} answered {error.code} {error.reason}")


class MlflowArtifacts(Web):
    """Artifacts that an MLflow server hands out: mlflow-artifacts:/…, its REST API."""

    def __init__(self, root: str, api: str, token: str) -> None:
        super().__init__(api.rstrip("/") + "/api/2.0/mlflow-artifacts/artifacts", token)
        self.root = root.strip("/")
        user = os.environ.get("MLFLOW_TRACKING_USERNAME")
        token = os.environ.get("MLFLOW_TRACKING_TOKEN", "")
        if "Authorization" not in self.headers and user:
            pair = user + ":" + os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
            encoded = base64.b64encode(pair.encode()).decode()
            self.headers["Authorization"] = "Basic " + encoded
        elif "Authorization" not in self.headers and token:
            self.headers["Authorization"] = "Bearer " + token

    def address(self, name: str) -> str:
        return self.url + "/" + urllib.parse.quote(self.root + "/" + name)

    def names(self) -> list[tuple[str, int]]:
        return list(self.below(""))

    def below(self, folder: str) -> Iterator[tuple[str, int]]:
        path = (self.root + "/" + folder).strip("/")
        url = self.url + "?" + urllib.parse.urlencode({"path": path})
        with patiently(lambda: self.ask(url, self.headers)) as answer:
            listed = json.loads(answer.read().decode()).get("files", [])
        for one in listed:
            name = (folder + "/" + one["path"]).strip("/")
            if one.get("is_dir"):
                yield from self.below(name)
            else:
                yield name, int(one.get("file_size", -1))


class Fsspec:
    """Whatever the release's own fsspec understands: s3://, gs://, …"""

    def __init__(self, url: str) -> None:
        scheme = url.partition("://")[0]
        package = PACKAGES.get(scheme, "the package for it")
        try:
            import fsspec
            import fsspec.core

            self.system, self.root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            fail(
                "no-fsspec",
                f"the environment of the release cannot read {scheme}://: {error}",
                f"add fsspec and {package} to the requirements of the project",
            )
        except ValueError as error:
            no_source(f"fsspec does not know {scheme}://: {error}")

    def names(self) -> list[tuple[str, int]]:
        root = self.root.rstrip("/")
        found = patiently(lambda: self.calling(lambda: self.system.find(root, detail=True)))
        return [
            (path[len(root) + 1 :], -1 if about.get("size") is None else int(about["size"]))
            for path, about in found.items()
            if path.startswith(root + "/")
        ]

    def open(self, name: str, offset: int) -> tuple[BinaryIO, int, int]:
        path = self.root.rstrip("/") + "/" + name if name else self.root

        def opened() -> tuple[BinaryIO, int, int]:
            size = self.system.info(path).get("size")
            file = self.system.open(path, "rb")
            file.seek(min(offset, size or 0))
            return file, min(offset, size or 0), -1 if size is None else int(size)

        found: tuple[BinaryIO, int, int] = self.calling(opened)
        return found

    def calling(self, work: Any) -> Any:
        try:
            return work()
        except FileNotFoundError as error:
            no_source(f"there is nothing at {error}")
        except PermissionError as error:
            fail(
                "source-closed", str(error), "check the secrets of [model], and what they may read"
            )
        except Exception as error:  # every store has errors of its own
            raise Passing(f"{type(error).__name__}: {error}") from None


def origin_of(source: str, api: str, token: str) -> Any:
    scheme = source.partition(":")[0] if ":" in source else ""
    if scheme == "mlflow-artifacts":
        return MlflowArtifacts(urllib.parse.urlsplit(source).path, api, token)
    if scheme in ("http", "https"):
        return Web(source, token)
    if scheme in ("", "file"):
        return Files(source)
    return Fsspec(source)
