"""A model on a host: what it holds, whether it is whole, and its files as one stream of bytes.

Runs on the hosts, by their Python (3.8 or later, standard library only):

    python3 -c "$(cat models.py)" contents FOLDER
        print what the model in the folder holds, as JSON
    python3 -c "$(cat models.py)" resume FOLDER MODEL
        print how many bytes of the model are there already, and how many it has
    python3 -c "$(cat models.py)" send FOLDER OFFSET
        write the bytes of its files, one after another, from this offset on
    python3 -c "$(cat models.py)" receive FOLDER OFFSET
        take such bytes

The contents are {"file": name of a single file or "", "files": [[path, size, sha256], …]} in the
order of the stream. A folder that receives has them in `.contents`. They come from another host,
which is not trusted: they have to be those that MODEL stands for, and a path that leads out of the
folder is refused. What arrived stays when the stream ends early, so that the next one begins behind
it; a file whose checksum is wrong goes. When all are there and right, the file `.arrived` says so.

Exit status 0: well; 1: the last line on standard error says what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    Files = list[tuple[str, int, str]]

PIECE_BYTES = 1 << 20
# Ours, beside the files of the model.
COMPLETE, SINGLE, CONTENTS, ARRIVED = ".complete", ".file", ".contents", ".arrived"
OWN = frozenset([COMPLETE, SINGLE, CONTENTS, ARRIVED])


class Wrong(Exception):
    """What is wrong, for a person."""


def model_id(files: Files) -> str:
    """Return the name of a model that holds these files.

    It is the sha256 of what `sha256sum` prints for them, as ./PATH in the order of their bytes: the
    same as `model_id` in release.sh.
    """
    lines = hashlib.sha256()
    for path, _, digest in files:
        name = b"./" + os.fsencode(path)
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        lines.update(mark + digest.encode() + b"  " + escaped + b"\n")
    return lines.hexdigest()


def paths_in(folder: str) -> list[str]:
    """Return the paths of a model's files, relative to its folder, in the order of the stream."""
    found = []
    for place, _, names in os.walk(folder):
        below = os.path.relpath(place, folder)
        found += [name if below == "." else os.path.join(below, name) for name in names]
    own = [name for name in OWN if name in found]
    return sorted(set(found).difference(own), key=os.fsencode)


def contents(folder: str) -> dict[str, Any]:
    """Return what the model in the folder holds."""
    files = [[path, *digest_of(os.path.join(folder, path))] for path in paths_in(folder)]
    single = ""
    if os.path.exists(os.path.join(folder, SINGLE)):
        with open(os.path.join(folder, SINGLE), encoding="utf-8") as file:
            single = file.read().rstrip("\n")
    return {"file": single, "files": files}


def digest_of(path: str) -> tuple[int, str]:
    """Return the size of a file and its sha256."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        for piece in pieces(file):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def pieces(file: BinaryIO) -> Iterator[bytes]:
    while True:
        piece = file.read(PIECE_BYTES)
        if not piece:
            return
        yield piece


def announced(folder: str) -> tuple[Files, str]:
    """Return the files that the folder is to receive; and the name where it is a single one."""
    with open(os.path.join(folder, CONTENTS), encoding="utf-8") as file:
        found = json.load(file)
    files, single = found["files"], found["file"]
    if single and [single] != [path for path, _, _ in files]:
        raise Wrong(f"{single!r} is not the only file of the model")
    for path, _, _ in files:
        parts = path.split("/")
        if not all(parts) or {".", ".."}.intersection(parts) or path in OWN or "\0" in path:
            raise Wrong(f"a file of the model has a path that is not one inside it: {path!r}")
    return [(path, size, digest) for path, size, digest in files], single


def resume(folder: str, model: str) -> tuple[int, int]:
    """Return how many bytes of the announced model are there, and how many it has."""
    files, _ = announced(folder)
    if model_id(files) != model:
        raise Wrong(f"what was announced is the model {model_id(files)}, not {model}")
    return there(folder, files), sum(size for _, size, _ in files)


def there(folder: str, files: Files) -> int:
    """Return how many bytes are there: whole files, verified, and a part of the next one."""
    count = 0
    for path, size, digest in files:
        place = os.path.join(folder, path)
        if not os.path.isfile(place):
            return count
        found = os.path.getsize(place)
        if found < size:
            return count + found
        if digest_of(place) != (size, digest):
            os.unlink(place)
            return count
        count += size
    return count


def send(folder: str, offset: int, out: BinaryIO) -> None:
    """Write the bytes of the model's files, one after another, from this offset on."""
    for path in paths_in(folder):
        place = os.path.join(folder, path)
        size = os.path.getsize(place)
        if offset < size:
            with open(place, "rb") as file:
                file.seek(offset)
                for piece in pieces(file):
                    out.write(piece)
        offset = max(0, offset - size)
    out.flush()


def receive(folder: str, offset: int, stream: BinaryIO) -> None:
    """Take the bytes of the stream from this offset on; verify each file as it becomes whole."""
    files, single = announced(folder)
    for path, size, digest in files:
        begun = min(offset, size)
        offset -= begun
        if begun < size or size == 0:
            take_file(os.path.join(folder, path), size, digest, begun, stream)
    if stream.read(1):
        raise Wrong("more arrived than the model holds")
    if single:
        with open(os.path.join(folder, SINGLE), "w", encoding="utf-8") as file:
            file.write(single + "\n")
    with open(os.path.join(folder, ARRIVED), "w"):
        pass


def take_file(place: str, size: int, digest: str, offset: int, stream: BinaryIO) -> None:
    """Take one file, the first `offset` bytes of which are there."""
    os.makedirs(os.path.dirname(place), exist_ok=True)
    found = hashlib.sha256()
    # Not without a buffer: on a disk that is just getting full a bare write may take half of it.
    with open(place, "r+b" if offset else "wb") as file:
        left = offset
        while left:
            piece = file.read(min(left, PIECE_BYTES))
            if not piece:
                raise Wrong(f"{place} became shorter")
            found.update(piece)
            left -= len(piece)
        file.truncate()
        left = size - offset
        while left:
            piece = stream.read(min(left, PIECE_BYTES))
            if not piece:
                raise Wrong("it ended early")
            file.write(piece)
            found.update(piece)
            left -= len(piece)
    if found.hexdigest() != digest:
        os.unlink(place)
        raise Wrong(f"{place} arrived damaged: its checksum is {found.hexdigest()}, not {digest}")


def main(verb: str, folder: str, *arguments: str) -> int:
    try:
        if verb == "contents":
            print(json.dumps(contents(folder)))
        elif verb == "resume":
            print(*resume(folder, arguments[0]))
        elif verb == "send":
            send(folder, int(arguments[0]), sys.stdout.buffer)
        else:
            with open(0, "rb", buffering=PIECE_BYTES) as stream:
                receive(folder, int(arguments[0]), stream)
    except (Wrong, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
