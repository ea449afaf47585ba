"""A model from elsewhere: fetch_model.sh with its programs, over real HTTP and real folders."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases import model as phase
from aideploy.phases.facts import HostFacts
from aideploy.phases.model import Origin
from aideploy.registry import Registered
from aideploy.remote.script import Script
from aideploy.settings.source import Model
from tests.lab.file_server import FileServer
from tests.scripts.running import Ran, run
from tests.web_server import Handler, WebServer

RELEASE = "20260101T000000Z-aaaaaaa"
WEIGHTS = os.urandom(3_000_000)
FILES = {"weights.bin": WEIGHTS, "metrics.json": b'{"auc": 0.9}'}


@pytest.fixture
def web() -> Iterator[FileServer]:
    with FileServer() as server:
        yield server


@pytest.fixture
def facts(tmp_path: Path) -> HostFacts:
    root = tmp_path / "srv"
    (root / "models").mkdir(parents=True)
    environment = root / "releases" / RELEASE / ".venv/bin"
    environment.mkdir(parents=True)
    (environment / "python").symlink_to(sys.executable)
    return HostFacts("h", PurePosixPath(root))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fetch(
    facts: HostFacts,
    source: str,
    digest: str = "",
    *,
    metrics: str = "",
    token: str = "",
    expected: str = "",
) -> Ran:
    settings = Model(source=source, sha256=digest or None, token=token or None)
    origin = phase.at_url(settings)
    if expected:
        origin = phase.known(origin, expected)
    secrets = {token: "the-token"} if token else {}
    return run(quick(phase.fetch(facts, RELEASE, origin, settings, secrets, metrics=metrics)))


def quick(script: Script) -> Script:
    """The same, without the pauses in which a busy server may get well."""
    hasty = tuple(
        arg.replace("FIRST_PAUSE_SECONDS = 0.5", "FIRST_PAUSE_SECONDS = 0.01")
        if isinstance(arg, str)
        else arg
        for arg in script.args
    )
    assert hasty != script.args
    return replace(script, args=hasty)


def tar(files: Mapping[str, bytes], odd: Callable[[tarfile.TarFile], None] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        if odd:
            odd(archive)
    return out.getvalue()


def zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def kept(facts: HostFacts, done: Ran) -> dict[str, bytes]:
    assert done.status == 0, (done.result, done.lines)
    place = Path(facts.root / "models" / done.result.text("model"))
    files = {str(p.relative_to(place)): p.read_bytes() for p in place.rglob("*") if p.is_file()}
    assert files.pop(".complete") == b""
    return files


def nothing_is_left(facts: HostFacts) -> bool:
    return not list(Path(facts.root / "models").glob("*/.complete"))


@pytest.mark.parametrize(("name", "pack"), [("/m.tar.gz", tar), ("/m.zip", zipped)])
def test_an_archive_is_fetched_verified_unpacked_and_known_again(
    facts: HostFacts, web: FileServer, name: str, pack: Callable[[Mapping[str, bytes]], bytes]
) -> None:
    web.behaviour.files[name] = archive = pack(FILES)
    first = fetch(facts, web.url(name), sha256(archive), metrics="metrics.json")
    assert kept(facts, first) == FILES
    assert json.loads(first.result.data("metrics")) == {"auc": 0.9}
    assert first.result.number("bytes") > len(WEIGHTS)

    again = fetch(facts, web.url(name), sha256(archive), metrics="metrics.json")
    assert again.result.text("model") == first.result.text("model")
    assert len(web.asked) == 1
    # Unless it was damaged meanwhile.
    place = Path(facts.root / "models" / first.result.text("model") / "weights.bin")
    place.chmod(0o600)
    place.write_bytes(b"X" + WEIGHTS[1:])
    mended = fetch(facts, web.url(name), sha256(archive))
    assert "damaged and is replaced" in mended.result.text("notice")
    assert kept(facts, mended) == FILES


def test_a_line_that_breaks_is_taken_up_where_it_broke(facts: HostFacts, web: FileServer) -> None:
    web.behaviour.files["/weights.bin"] = WEIGHTS
    web.behaviour.breaks_after = [1_000_000, 500_000, 0]
    web.behaviour.busy = 2
    done = fetch(facts, web.url("/weights.bin"), sha256(WEIGHTS))
    assert kept(facts, done) == {"weights.bin": WEIGHTS, ".file": b"weights.bin\n"}
    ranges = [asked.headers["Range"] for asked in web.asked if "Range" in asked.headers]
    assert len(ranges) == 3
    assert all(int(text[6:-1]) >= 1_000_000 - (1 << 20) for text in ranges)


def test_what_an_earlier_deploy_downloaded_is_not_downloaded_again_even_if_it_was_torn(
    facts: HostFacts, web: FileServer
) -> None:
    url, digest = web.url("/weights.bin"), sha256(WEIGHTS)
    web.behaviour.files["/weights.bin"] = WEIGHTS
    web.behaviour.breaks_after = [2_000_000, 0, 0, 0, 0]
    assert fetch(facts, url, digest).code == "source-down"
    (part,) = Path(facts.root / "models").glob(".incoming-*/parts/file")
    assert part.stat().st_size == 2_000_000
    web.asked.clear()
    # A power cut tore it.
    part.write_bytes(bytes(2_000_000))

    assert kept(facts, fetch(facts, url, digest))["weights.bin"] == WEIGHTS
    assert [asked.headers.get("Range") for asked in web.asked] == ["bytes=2000000-", None]
    assert not list(Path(facts.root / "models").glob(".incoming-*"))


def test_metrics_may_lie_elsewhere(facts: HostFacts, web: FileServer) -> None:
    web.behaviour.files |= {"/m.bin": WEIGHTS, "/metrics": b'{"auc": 0.8}'}
    for _ in range(2):
        url = web.url("/metrics")
        done = fetch(facts, web.url("/m.bin"), sha256(WEIGHTS), metrics=url)
        assert json.loads(done.result.data("metrics")) == {"auc": 0.8}
    assert [asked.path for asked in web.asked] == ["/m.bin", "/metrics", "/metrics"]


def test_a_token_is_shown_to_the_server_that_it_is_for_and_to_nobody_else(
    facts: HostFacts, web: FileServer
) -> None:
    with FileServer() as elsewhere:
        web.behaviour.token = "the-token"
        web.behaviour.files["/a.bin"] = WEIGHTS
        assert fetch(facts, web.url("/a.bin"), sha256(WEIGHTS)).code == "source-closed"
        assert fetch(facts, web.url("/a.bin"), sha256(WEIGHTS), token="TOKEN").status == 0

        elsewhere.behaviour.files["/b.bin"] = b"another"
        web.behaviour.moved["/b.bin"] = elsewhere.url("/b.bin")
        done = fetch(facts, web.url("/b.bin"), sha256(b"another"), token="TOKEN")
        assert kept(facts, done)["b.bin"] == b"another"
        assert "Authorization" not in elsewhere.asked[0].headers


def link(name: str, target: str) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = tarfile.SYMTYPE, target
        archive.addfile(member)

    return add


def hard_link(archive: tarfile.TarFile) -> None:
    member = tarfile.TarInfo("shadow")
    member.type, member.linkname = tarfile.LNKTYPE, "/etc/shadow"
    archive.addfile(member)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("/m.tar.gz", tar(FILES, link("x", "/etc/passwd")), "no plain file: x -> /etc/passwd"),
        ("/m.tar.gz", tar(FILES, link("x", "weights.bin")), "no plain file: x -> weights.bin"),
        ("/m.tar.gz", tar(FILES, hard_link), "no plain file: shadow -> /etc/shadow"),
        ("/m.tar.gz", tar({"../../out": b"x"}), "outside of it: ../../out"),
        ("/m.tar.gz", tar({"/tmp/out": b"x"}), "outside of it: /tmp/out"),
        ("/m.zip", zipped({"../out": b"x"}), "outside of it: ../out"),
        ("/m.tar.gz", tar({}), "the model that came is empty"),
        ("/m.tar.gz", tar({"empty": b""}), "the model that came is empty"),
        ("/m.bin", b"", "the model that came is empty"),
        ("/m.tar.gz", b"<html>please log in</html>", "no archive that can be unpacked"),
        ("/m.tar.gz", tar(FILES)[:-1000], "no archive that can be unpacked"),
        ("/m.zip", zipped(FILES)[:-1000], "no archive that can be unpacked"),
    ],
    # Not by the content: an archive holds the time at which it was made.
    ids=[
        *("a link out", "a link within", "a hard link", "above", "an absolute path"),
        *("above, zipped", "nothing", "an empty file", "an empty answer", "a page to log in"),
        *("a cut tar", "a cut zip"),
    ],
)
def test_a_model_that_is_none_is_refused(
    facts: HostFacts, web: FileServer, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    web.behaviour.files[name] = content
    done = fetch(facts, web.url(name), sha256(content))
    assert done.code == "model-refused"
    assert says in done.result.text("fail.message")
    assert nothing_is_left(facts)
    assert not list(tmp_path.rglob("out"))


def test_another_content_than_the_settings_name_is_refused(
    facts: HostFacts, web: FileServer
) -> None:
    web.behaviour.files["/m.bin"] = WEIGHTS
    done = fetch(facts, web.url("/m.bin"), "0" * 64)
    assert done.code == "model-refused"
    assert sha256(WEIGHTS) in done.result.text("fail.message")
    # Of another host the first one has said what it has to be.
    done = fetch(facts, web.url("/m.bin"), sha256(WEIGHTS), expected="1" * 64)
    assert done.code == "model-refused"
    assert fetch(facts, web.url("/m.bin"), sha256(WEIGHTS), metrics="none.json").code == (
        "model-refused"
    )


@pytest.mark.parametrize(
    ("source", "code", "says"),
    [
        ("http://127.0.0.1:1/m.bin", "source-down", "no answer from http://127.0.0.1:1/m.bin"),
        ("file:///no/such/model.tar", "no-source", "no file /no/such/model.tar"),
        ("file:///no/such/folder/", "no-source", "no folder /no/such/folder/"),
        ("file:///etc", "no-source", "is a folder"),
        ("s3://bucket/m.bin", "no-fsspec", "cannot read s3://"),
    ],
)
def test_a_source_that_is_not_there_is_named(
    facts: HostFacts, source: str, code: str, says: str
) -> None:
    done = fetch(facts, source, "0" * 64)
    assert done.code == code
    assert says in done.result.text("fail.message")
    assert done.result.text("fail.next")
    assert nothing_is_left(facts)


@pytest.mark.parametrize(
    ("busy", "path", "code"), [(0, "/none", "no-source"), (9, "/m", "source-down")]
)
def test_a_server_that_says_no_is_quoted_without_what_signs_the_url(
    facts: HostFacts, web: FileServer, busy: int, path: str, code: str
) -> None:
    web.behaviour.busy = busy
    done = fetch(facts, web.url(f"{path}?signature=secret"), "0" * 64)
    assert done.code == code
    assert "answered" in done.result.text("fail.message")
    assert "secret" not in str(done.result.facts) + str(done.lines)


def test_a_shared_folder_is_a_source_and_its_id_is_its_checksum(
    facts: HostFacts, tmp_path: Path
) -> None:
    shared = tmp_path / "shared model"
    (shared / "deep").mkdir(parents=True)
    (shared / "deep/weights").write_bytes(WEIGHTS)
    source = shared.as_uri() + "/"
    model = sha256(f"{sha256(WEIGHTS)}  ./deep/weights\n".encode())
    assert kept(facts, fetch(facts, source, model)) == {"deep/weights": WEIGHTS}
    (shared / "deep/weights").write_bytes(b"changed")
    assert fetch(facts, source, "2" * 64).code == "model-refused"


class Proxied(Handler):
    """An MLflow whose proxy does not say how long an answer is, and breaks the first of a file."""

    whole = False

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        if "?" in self.path:
            file = {"path": "weights.bin", "is_dir": False, "file_size": len(WEIGHTS)}
            self.wfile.write(json.dumps({"files": [file]}).encode())
        else:
            self.wfile.write(WEIGHTS if Proxied.whole else WEIGHTS[:1_000_000])
            Proxied.whole = True


def test_a_file_that_ends_before_its_listed_size_is_not_taken_for_whole(facts: HostFacts) -> None:
    with WebServer(Proxied) as proxy:
        settings = Model(source="models:/ranker/1", tracking_uri=proxy.origin)
        found = Registered("ranker", "1", "run", "mlflow-artifacts:/1/run/artifacts/model", {})
        origin = phase.registered(settings, found)
        done = run(quick(phase.fetch(facts, RELEASE, origin, settings, {})))
    assert kept(facts, done) == {"weights.bin": WEIGHTS}


def test_a_trained_model_goes_through_a_store(facts: HostFacts, tmp_path: Path) -> None:
    files = {"weights.bin": WEIGHTS, ".file": b"weights.bin\n"}
    model = sha256(f"{sha256(WEIGHTS)}  ./weights.bin\n".encode())
    place = Path(facts.root / "models" / model)
    place.mkdir()
    for name, content in {**files, ".complete": b""}.items():
        (place / name).write_bytes(content)
    settings = Model(store=(tmp_path / "store").as_uri())

    def put() -> Ran:
        return run(phase.store(facts, RELEASE, model, settings, {}))

    assert put().result.text("words") == "put 2 files into the store"
    assert put().result.text("words") == "in the store already"

    place.rename(place.with_name("gone"))
    origin: Origin = phase.in_store(str(settings.store), model)
    fetched = run(phase.fetch(facts, RELEASE, origin, settings, {}))
    assert kept(facts, fetched) == files
    # What somebody changed in the store does not get in.
    (tmp_path / "store" / model / "weights.bin").write_bytes(b"evil")
    place.rename(place.with_name("gone too"))
    refused = run(phase.fetch(facts, RELEASE, origin, settings, {}))
    assert refused.code == "model-refused"


def test_a_project_may_have_modules_that_are_called_like_those_of_python(
    facts: HostFacts, web: FileServer
) -> None:
    place = Path(facts.root / "releases" / RELEASE)
    for name in ("json", "hashlib", "tarfile", "stat"):
        (place / f"{name}.py").write_text("raise SystemExit('this is the project')\n")
    web.behaviour.files["/m.bin"] = WEIGHTS
    done = fetch(facts, web.url("/m.bin"), sha256(WEIGHTS))
    assert kept(facts, done)["m.bin"] == WEIGHTS
