"""A model from one host to another: models.py and the scripts around it, in temporary folders."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from aideploy.phases import distribute
from aideploy.phases.distribute import Artifact
from aideploy.phases.facts import HostFacts
from aideploy.phases.programs import program
from tests.scripts.running import Ran, run

LARGE = os.urandom(3_000_000)
FILES = {"weights.bin": LARGE, "a/empty": b"", "a/vocabulary \\ \n ü": b"words", "z": b"last"}


class On:
    """A host: a folder with models, and what is done there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "models").mkdir(parents=True)
        self.facts = HostFacts("h", PurePosixPath(root), python=sys.executable)

    def has(self, files: Mapping[str, bytes], single: str = "") -> str:
        """Put a model there, as a training does; its name."""
        made = self.root / "models/made"
        for name, content in files.items():
            (made / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).write_bytes(content)
        if single:
            (made / ".file").write_text(single + "\n")
        shell = f'. <(cat "$1"); model_id "{made}"'
        library = Path(distribute.__file__).parents[1] / "scripts/release.sh"
        named = subprocess.run(
            ["bash", "-c", shell, "-", library], capture_output=True, text=True, check=True
        )
        model = named.stdout.strip()
        (made / ".complete").touch()
        made.rename(made.with_name(model))
        return model

    def describe(self, model: str) -> Artifact:
        return distribute.artifact(run(distribute.read_model(self.facts, model)).result)

    def write(self, model: str, artifact: Artifact = Artifact()) -> Ran:  # noqa: B008  # frozen
        return run(distribute.write_model(self.facts, model, artifact))

    def sends(self, model: str, offset: int) -> bytes:
        return self._stream(distribute.send_stream(self.facts, model, offset).args, b"").stdout

    def takes(self, model: str, offset: int, data: bytes) -> subprocess.CompletedProcess[bytes]:
        return self._stream(distribute.take_stream(self.facts, model, offset).args, data)

    def publish(self, model: str) -> Ran:
        return run(distribute.publish_model(self.facts, model))

    def files(self, model: str) -> dict[str, bytes]:
        place = self.root / "models" / model
        found = {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}
        assert found.pop(".complete") == b""
        return found

    @staticmethod
    def _stream(words: Any, data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(list(words), input=data, capture_output=True, timeout=60)


@pytest.fixture
def train(tmp_path: Path) -> On:
    return On(tmp_path / "train")


@pytest.fixture
def serve(tmp_path: Path) -> On:
    return On(tmp_path / "serve")


def test_a_stream_that_was_cut_goes_on_where_it_was_and_the_model_cannot_be_written_to(
    train: On, serve: On
) -> None:
    model = train.has(FILES)
    artifact = train.describe(model)
    size = sum(map(len, FILES.values()))

    prepared = distribute.stock(serve.write(model, artifact).result)
    assert (prepared.have, prepared.size, prepared.is_whole) == (0, size, False)
    for cut in (1_000_000, 1_500_000, 1):
        have = distribute.stock(serve.write(model, artifact).result).have
        assert serve.takes(model, have, train.sends(model, have)[:cut]).returncode == 1
        assert serve.publish(model).code == "damaged"
    have = distribute.stock(serve.write(model, artifact).result).have
    assert have == 2_500_001
    assert serve.takes(model, have, train.sends(model, have)).returncode == 0
    assert serve.publish(model).status == 0

    assert serve.files(model) == FILES
    assert not (serve.root / "models" / model / "z").stat().st_mode & 0o222
    assert [p.name for p in (serve.root / "models").iterdir()] == [model]
    assert distribute.stock(serve.write(model).result).words == "there already, verified"


def test_a_byte_that_flips_on_the_way_or_in_what_was_there_is_found(train: On, serve: On) -> None:
    model = train.has({"weights": LARGE})
    artifact = train.describe(model)
    serve.write(model, artifact)
    stream = bytearray(train.sends(model, 0))
    stream[1_234_567] ^= 1
    took = serve.takes(model, 0, bytes(stream))
    assert took.returncode == 1
    assert b"arrived damaged" in took.stderr
    assert serve.publish(model).code == "damaged"
    # Of that file nothing is kept.
    assert distribute.stock(serve.write(model, artifact).result).have == 0

    half = bytearray(train.sends(model, 0)[:2_000_000])
    half[5] ^= 1
    serve.takes(model, 0, bytes(half))
    took = serve.takes(model, 2_000_000, train.sends(model, 2_000_000))
    assert took.returncode == 1
    assert b"arrived damaged" in took.stderr


def test_a_disk_that_gets_full_in_the_last_bytes_of_a_model_is_noticed(
    train: On, serve: On
) -> None:
    model = train.has({"weights.bin": LARGE})
    serve.write(model, train.describe(model))
    # As where the disk is just getting full: of the last write the kernel takes what fits.
    room = len(LARGE) - 500_000
    words = distribute.take_stream(serve.facts, model, 0).args
    taken = subprocess.run(
        ["bash", "-c", f'ulimit -f {room // 1024}; exec "$@"', "-", *map(str, words)],
        input=train.sends(model, 0),
        capture_output=True,
        timeout=60,
    )

    assert taken.returncode == 1
    assert serve.publish(model).code == "damaged"
    assert not (serve.root / "models" / model).exists()


@pytest.mark.parametrize("files", [{"weights": b"small"}, {"weights": LARGE}])
def test_a_damaged_copy_is_reported_and_replaced(
    train: On, serve: On, files: Mapping[str, bytes]
) -> None:
    model = train.has(files)
    assert serve.has(files) == model
    place = serve.root / "models" / model / "weights"
    place.write_bytes(b"X" + files["weights"][1:])

    assert distribute.stock(serve.write(model).result).damaged
    artifact = train.describe(model)
    assert bool(artifact.archive) == (len(files["weights"]) < distribute.INLINE_BYTES)
    if not distribute.stock(serve.write(model, artifact).result).is_whole:
        # The live service reads the damaged one until the moment of the exchange.
        assert place.read_bytes()[:1] == b"X"
        serve.takes(model, 0, train.sends(model, 0))
        assert serve.publish(model).status == 0
    assert serve.files(model) == files


def test_a_model_of_a_single_file_keeps_its_name(train: On, serve: On) -> None:
    model = train.has({"weights.bin": LARGE}, single="weights.bin")
    serve.write(model, train.describe(model))
    serve.takes(model, 0, train.sends(model, 0))
    assert serve.publish(model).status == 0
    assert serve.files(model) == {"weights.bin": LARGE, ".file": b"weights.bin\n"}


def contents(files: list[list[object]], single: str = "") -> tuple[str, Artifact]:
    """What a host that lies would say: a model of these files, with the name that belongs to it."""
    lines = "".join(f"{digest}  ./{path}\n" for path, _, digest in files)
    text = json.dumps({"file": single, "files": files})
    return hashlib.sha256(lines.encode()).hexdigest(), Artifact(contents=text, size=1)


NOTHING = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("path", ["../out", "/tmp/out", "a/../../out", "a//b", ".complete", "."])
def test_a_train_host_cannot_make_others_write_outside_of_the_model(
    serve: On, tmp_path: Path, path: str
) -> None:
    model, artifact = contents([[path, 0, NOTHING]])
    refused = serve.write(model, artifact)
    assert refused.code == "damaged"
    assert any("not one inside it" in line for line in refused.lines)
    assert serve.takes(model, 0, b"").returncode == 1
    assert not list(tmp_path.rglob("out"))


def test_what_is_announced_has_to_be_the_model_that_was_judged(serve: On) -> None:
    model, artifact = contents([["weights", 0, NOTHING]])
    other = replace(artifact, contents=artifact.contents.replace("weights", "others"))
    assert serve.write(model, other).code == "damaged"
    single, artifact = contents([["weights", 0, NOTHING]], single="../../../etc/passwd")
    assert serve.write(single, artifact).code == "damaged"


def test_too_little_room_is_said_before_anything_is_sent(serve: On) -> None:
    model, artifact = contents([["weights", 10**15, "0" * 64]])
    refused = serve.write(model, artifact)
    assert refused.code == "no-space"
    assert "953674316 MB more" in refused.result.text("fail.message")


def test_the_program_for_the_hosts_needs_nothing_but_an_old_python() -> None:
    for text in (
        program("models"),
        program("fetch_model", "origins"),
        program("store_model", "origins"),
    ):
        ast.parse(text, feature_version=(3, 8))
