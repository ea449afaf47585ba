"""Put a model into a store: a shared folder, or whatever the release's own fsspec can write to.

Runs on the host that trained it, with origins.py in front of it:

    python3 -c "$(cat origins.py store_model.py)" FOLDER URL

In a folder a file is written under another name first and renamed; an object of a store is there
whole or not at all. `.complete` comes last: with it the model is there and is not sent again.
"""

from __future__ import annotations

import os
import shutil
import sys
import urllib.parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from aideploy.scripts.origins import Fsspec, Passing, fail, patiently, tell


class Folder:
    """A folder that every host sees."""

    def __init__(self, url: str) -> None:
        self.root = urllib.parse.unquote(urllib.parse.urlsplit(url).path)

    def has(self, name: str) -> bool:
        return os.path.exists(os.path.join(self.root, name))

    def put(self, path: str, name: str) -> None:
        place = os.path.join(self.root, name)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        unfinished = f"{place}.{os.getpid()}"
        try:
            shutil.copyfile(path, unfinished)
            os.replace(unfinished, place)
        except BaseException:
            if os.path.exists(unfinished):
                os.unlink(unfinished)
            raise


class Bucket:
    """What fsspec can write to."""

    def __init__(self, url: str) -> None:
        self.store = Fsspec(url)

    def has(self, name: str) -> bool:
        return bool(patiently(lambda: self.store.calling(lambda: self.exists(name))))

    def exists(self, name: str) -> bool:
        return bool(self.store.system.exists(self.address(name)))

    def put(self, path: str, name: str) -> None:
        patiently(lambda: self.store.calling(lambda: self.upload(path, name)))

    def upload(self, path: str, name: str) -> None:
        # A bucket has no folders; other stores do.
        self.store.system.makedirs(os.path.dirname(self.address(name)), exist_ok=True)
        self.store.system.put_file(path, self.address(name))

    def address(self, name: str) -> str:
        return str(self.store.root).rstrip("/") + "/" + name


def main(folder: str, url: str) -> None:
    os.dup2(2, 1)  # whatever else prints is output
    store = Folder(url) if url.startswith("file://") else Bucket(url)
    try:
        if store.has(".complete"):
            tell("emit", "words", "in the store already")
            return
        paths = sorted(
            os.path.relpath(os.path.join(place, name), folder)
            for place, _, names in os.walk(folder)
            for name in names
        )
        names = [path for path in paths if path != ".complete"]
        for number, name in enumerate(names, 1):
            tell("step", f"put {number} of {len(names)} into the store: {name}")
            store.put(os.path.join(folder, name), name)
        store.put(os.path.join(folder, ".complete"), ".complete")
    except (OSError, Passing) as error:
        fail("source-closed", f"the store cannot be written: {error}", "check [model] store")
    tell("emit", "words", f"put {len(names)} files into the store")


if __name__ == "__main__":
    main(*sys.argv[1:])
