"""Fetch a model that was made elsewhere: a file, an archive or a folder behind a URL.

Runs on the hosts with origins.py in front of it:

    python3 -c "$(cat origins.py fetch_model.py)" FOLDER [metrics] < REQUEST

REQUEST is JSON: source (a URL, or the path of MLflow's artifacts), folder (whether it is one),
sha256 (of a file or an archive; may be empty), metrics (a URL, or empty), api (the MLflow server
whose artifacts they are, or empty), token (the name of the variable with a bearer token, or empty),
keep (whether what an earlier run downloaded may be used: only where a checksum will tell).

The model comes to FOLDER/model, unless only the metrics are asked for, and these to FOLDER/metrics;
FOLDER/parts holds what is half there. A
single file keeps the name that it has at its source, which FOLDER/model/.file repeats.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import sys
import tarfile
import time
import urllib.parse
import zipfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from aideploy.scripts.origins import (
        ATTEMPTS,
        FIRST_PAUSE_SECONDS,
        PIECE_BYTES,
        Passing,
        fail,
        give_up,
        no_source,
        origin_of,
        refuse,
        shown,
        tell,
    )

MOST_METRICS_BYTES = 4 << 20
SPARE_BYTES = 100 << 20
PROGRESS_SECONDS = 5.0
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")
# What a model's folder holds that is no file of the model.
OWN = (".complete", ".file", ".contents", ".arrived")
NAME = re.compile(r"(?!-)[^\x00-\x1f\x7f/]+")


def download(origin: Any, name: str, part: str, what: str, listed: int = -1) -> None:
    """Fetch what is not there yet of one file; go on behind it when the line breaks.

    listed: its size as its folder says it, for servers that do not (-1: nobody does).
    """
    pause, failures = FIRST_PAUSE_SECONDS, 0
    while True:
        have = os.path.getsize(part) if os.path.exists(part) else 0
        try:
            take(origin, name, part, what, have, listed)
            return
        except EOFError:
            return
        except Passing as error:
            progressed = os.path.exists(part) and os.path.getsize(part) > have
            pause = FIRST_PAUSE_SECONDS if progressed else pause * 2
            failures = 1 if progressed else failures + 1
            if failures == ATTEMPTS:
                give_up(error)
            tell("step", f"try again in {pause:g} s: {error}")
        time.sleep(pause)


def take(origin: Any, name: str, part: str, what: str, have: int, listed: int) -> None:
    stream, start, size = origin.open(name, have)
    size = listed if size < 0 else size
    with stream, open(part, "r+b" if have else "wb") as file:
        file.seek(start)
        file.truncate()
        require_room(part, size - start)
        done, told = start, 0.0
        while True:
            try:
                piece = stream.read(PIECE_BYTES)
            except Exception as error:  # of urllib, http.client, or of a store
                raise Passing(f"the line broke after {done} bytes: {error}") from None
            if not piece:
                break
            if size < 0:
                require_room(part, len(piece))
            file.write(piece)
            done += len(piece)
            if time.monotonic() - told > PROGRESS_SECONDS:
                told = time.monotonic()
                share = f": {done * 100 // size} % of {size / 1e6:.0f} MB" if size > 0 else ""
                tell("step", f"download {what}{share}")
    if size >= 0 and done < size:
        raise Passing(f"the line broke after {done} of {size} bytes")


def require_room(path: str, size: int) -> None:
    free = shutil.disk_usage(os.path.dirname(path)).free
    if size + SPARE_BYTES > free:
        fail(
            "no-space",
            f"the model needs {max(size, 0) // 1000000} MB more and 100 MB to spare, "
            f"{free // 1000000} MB are free on the disk of the host",
            "make room there; nothing was changed",
        )


def digest_of(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(PIECE_BYTES), b""):
            digest.update(piece)
    return digest.hexdigest()


def fetch_file(origin: Any, source: str, sha256: str, parts: str, model: str) -> None:
    """Fetch a single file or an archive, verify it, and make the model of it."""
    part = os.path.join(parts, "file")
    resumed = os.path.exists(part)
    download(origin, "", part, "the model")
    tell("step", "verify what came")
    if sha256 and digest_of(part) != sha256 and resumed:
        # It changed at its source since an earlier run, or a power cut tore what that run left.
        os.unlink(part)
        download(origin, "", part, "the model anew")
    found = digest_of(part)
    if sha256 and found != sha256:
        os.unlink(part)
        refuse(
            f"the checksum of {shown(source)} is {found}, not {sha256}",
            "see who changed the file; if it is right, correct [model] sha256",
        )
    name = os.path.basename(urllib.parse.unquote(urllib.parse.urlsplit(source).path))
    if name.endswith(ARCHIVES):
        tell("step", "unpack the model")
        unpack(part, name, model)
        os.unlink(part)
    else:
        if not NAME.fullmatch(name) or name in OWN:
            no_source(f"{shown(source)} does not end with the name of a file")
        os.rename(part, os.path.join(model, name))
        with open(os.path.join(model, ".file"), "w", encoding="utf-8") as file:
            file.write(name + "\n")


def fetch_folder(origin: Any, parts: str, model: str) -> None:
    """Fetch every file of a folder."""
    listed = sorted(origin.names())
    # A store of ours says the name of a single file too.
    wanted = [(name, size) for name, size in listed if name == ".file" or name not in OWN]
    if not wanted:
        no_source("there is no file in the folder of the model")
    require_room(model, sum(max(0, size) for _, size in wanted) - size_below(model))
    for number, (name, size) in enumerate(wanted, 1):
        place = inside(model, name)
        if not (os.path.isfile(place) and os.path.getsize(place) == size):
            part = os.path.join(parts, hashlib.sha256(name.encode()).hexdigest())
            download(origin, name, part, f"{number} of {len(wanted)}, {name}", size)
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.replace(part, place)


def size_below(folder: str) -> int:
    return sum(
        os.path.getsize(os.path.join(place, name))
        for place, _, names in os.walk(folder)
        for name in names
    )


def inside(folder: str, name: str) -> str:
    """Return where a file goes; one that would not lie in the folder refuses the model."""
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or "\0" in name or not name.strip("/."):
        refuse(f"the model holds a file that would lie outside of it: {name}")
    return os.path.join(folder, *(part for part in parts if part not in ("", ".")))


def unpack(archive: str, name: str, model: str) -> None:
    """Unpack plain files and folders; anything else in an archive refuses it."""
    try:
        if name.endswith(".zip"):
            unpack_zip(archive, model)
        else:
            unpack_tar(archive, model)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
        refuse(f"{name} is no archive that can be unpacked: {error}")
    except OSError as error:
        # Of gzip, bz2 and lzma as well; of a full disk it is an errno.
        if error.errno:
            raise
        refuse(f"{name} is no archive that can be unpacked: {error}")


def unpack_tar(archive: str, model: str) -> None:
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir() or os.path.normpath(member.name) in OWN:
                continue
            if not member.isfile():
                link = f" -> {member.linkname}" if member.linkname else ""
                refuse(f"the archive holds something that is no plain file: {member.name}{link}")
            content = tar.extractfile(member)
            assert content is not None
            put(inside(model, member.name), member.size, content)


def unpack_zip(archive: str, model: str) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for member in bundle.infolist():
            if member.is_dir() or os.path.normpath(member.filename) in OWN:
                continue
            kind = stat.S_IFMT(member.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                refuse(f"the archive holds something that is no plain file: {member.filename}")
            with bundle.open(member) as content:
                put(inside(model, member.filename), member.file_size, content)


def put(place: str, size: int, content: Any) -> None:
    os.makedirs(os.path.dirname(place), exist_ok=True)
    require_room(place, size)
    with open(place, "wb") as file:
        shutil.copyfileobj(content, file, PIECE_BYTES)


def main(folder: str, what: str = "model") -> None:
    os.dup2(2, 1)  # whatever else prints is output
    request = json.load(sys.stdin)
    try:
        if what == "model":
            fetch_model(request, folder)
        if request["metrics"]:
            fetch_metrics(request, os.path.join(folder, "metrics"))
    except OSError as error:
        full = error.errno == errno.ENOSPC
        fail("no-space" if full else "broken", str(error), "see the disk of the host")


def fetch_model(request: Any, folder: str) -> None:
    parts, model = os.path.join(folder, "parts"), os.path.join(folder, "model")
    if not request["keep"]:
        shutil.rmtree(parts, ignore_errors=True)
    if not (request["keep"] and request["folder"]):
        shutil.rmtree(model, ignore_errors=True)
    os.makedirs(parts, exist_ok=True)
    os.makedirs(model, exist_ok=True)
    tell("step", "download the model")
    origin = origin_of(request["source"], request["api"], request["token"])
    if request["folder"]:
        fetch_folder(origin, parts, model)
    else:
        fetch_file(origin, request["source"], request["sha256"], parts, model)


def fetch_metrics(request: Any, place: str) -> None:
    if os.path.exists(place):
        os.unlink(place)
    download(origin_of(request["metrics"], "", request["token"]), "", place, "the metrics")
    if os.path.getsize(place) > MOST_METRICS_BYTES:
        refuse("what [model] metrics names is larger than 4 MB: no metrics")


if __name__ == "__main__":
    main(*sys.argv[1:])
