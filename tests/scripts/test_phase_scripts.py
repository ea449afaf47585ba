"""The scripts of the phases, each run for real in a temporary directory."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest

from aideploy.phases import distribute
from aideploy.phases.facts import HostFacts
from aideploy.phases.golden import proof
from aideploy.phases.health import program
from aideploy.phases.journal import Entry, Journal, Verdict
from aideploy.remote.script import Script
from aideploy.settings.golden import Golden
from tests.git import git
from tests.scripts.running import TOKEN, Calls, Ran, run

STAMP = "20260101T000000Z"


def commit(repository: Path, **files: str) -> str:
    for name, text in files.items():
        (repository / name.replace("__", ".")).write_text(text)
    git(repository, "add", "-A")
    git(repository, "commit", "--quiet", "--allow-empty", "-m", "a commit")
    return git(repository, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo with 'quotes' and ü"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, app__py="print('one')\n", requirements__txt="")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "srv"
    for name in ("releases", "venvs", "models", "slots/live", "slots/staged", "shared"):
        (root / name).mkdir(parents=True)
    return root


def fetch(root: Path, repository: Path, revision: str, *, live: str = "", folder: str = "") -> Ran:
    words = (str(root), "pull", str(repository), revision, folder, STAMP, live)
    return run(Script("fetch", words, libraries=("commits",)))


# -- fetch -------------------------------------------------------------------------------------


def test_fetch_unpacks_the_commit_that_a_branch_names(root: Path, repository: Path) -> None:
    done = fetch(root, repository, "main")
    commit_id = git(repository, "rev-parse", "main")
    assert done.result.text("commit") == commit_id
    release = done.result.text("release")
    assert release == f"{STAMP}-{commit_id[:7]}"
    assert (root / "releases" / release / "app.py").read_text() == "print('one')\n"
    assert not (root / "releases" / release / ".git").exists()


def test_fetch_takes_tags_and_short_commits_too(root: Path, repository: Path) -> None:
    git(repository, "tag", "v1")
    first = git(repository, "rev-parse", "HEAD")
    commit(repository, app__py="print('two')\n")
    for revision in ("v1", first[:8], first):
        assert fetch(root, repository, revision).result.text("commit") == first


@pytest.mark.parametrize("name", ["$(touch${IFS}pwned)", "`id`", "a'b", 'a"b', "ünï", "a;b", "a&b"])
def test_a_branch_with_a_hostile_name_is_only_a_name(
    root: Path, repository: Path, tmp_path: Path, name: str
) -> None:
    git(repository, "branch", name)
    done = fetch(root, repository, name)
    assert done.status == 0
    assert not list(tmp_path.rglob("pwned"))


def test_fetch_names_what_there_is_when_the_revision_is_not(root: Path, repository: Path) -> None:
    done = fetch(root, repository, "mian")
    assert done.code == "no-revision"
    assert "mian" in done.result.text("fail.message")
    assert "main" in done.result.text("fail.next")
    assert list((root / "releases").iterdir()) == []


def test_fetch_says_when_there_is_no_repository(root: Path, tmp_path: Path) -> None:
    assert fetch(root, tmp_path / "nothing", "main").code == "no-repository"


def test_the_password_of_a_repository_is_not_told(root: Path) -> None:
    url = "http://ann:of-nobody-else@127.0.0.1:1/repo.git"
    words = (str(root), "pull", url, "main", "", STAMP, "")
    done = run(Script("fetch", words, libraries=("commits",)))
    assert done.code == "no-repository"
    assert "http://127.0.0.1:1/repo.git" in done.message
    assert "of-nobody-else" not in done.output + done.message + done.result.text("fail.next")


def test_fetch_counts_the_commits_since_what_is_live(root: Path, repository: Path) -> None:
    live = git(repository, "rev-parse", "HEAD")
    commit(repository, app__py="2")
    commit(repository, app__py="3")
    assert fetch(root, repository, "main", live=live).result.text("ahead") == "2"
    newest = git(repository, "rev-parse", "HEAD")
    back = fetch(root, repository, live, live=newest).result
    assert (back.text("ahead"), back.text("behind")) == ("0", "2")


def test_fetch_takes_only_the_subdirectory(root: Path, repository: Path) -> None:
    (repository / "service").mkdir()
    commit(repository, **{"service/main__py": "x = 1\n"})
    done = fetch(root, repository, "main", folder="service")
    release = root / "releases" / done.result.text("release")
    assert [path.name for path in release.iterdir()] == ["main.py"]
    assert fetch(root, repository, "main", folder="nowhere").code == "no-subdirectory"


def test_fetch_removes_what_a_dead_deploy_left_and_keeps_what_is_whole(
    root: Path, repository: Path
) -> None:
    half, whole = root / "releases/20250101T000000Z-half", root / "releases/20250101T000001Z-whole"
    half.mkdir()
    whole.mkdir()
    (whole / "release.json").write_text("{}")
    fetch(root, repository, "main")
    assert not half.exists()
    assert whole.exists()


def test_fetch_goes_on_after_a_power_cut_left_a_lock_of_git(root: Path, repository: Path) -> None:
    fetch(root, repository, "main")
    (root / "repo.git/packed-refs.lock").touch()
    commit(repository, app__py="2")
    assert fetch(root, repository, "main").status == 0


def test_push_needs_no_repository_on_the_host(root: Path, repository: Path) -> None:
    first = git(repository, "rev-parse", "HEAD")
    second = commit(repository, app__py="print('two')\n")

    def pack(wanted: str) -> str:
        packed = subprocess.run(
            ["git", "-C", str(repository), "pack-objects", "--revs", "--stdout", "--thin", "-q"],
            input=wanted.encode(),
            capture_output=True,
            check=True,
        )
        return base64.b64encode(packed.stdout).decode()

    def push(data: str, commit_id: str) -> Ran:
        words = (str(root), "push", data, commit_id, "", STAMP, "")
        return run(Script("fetch", words, libraries=("commits",)))

    assert push(pack(f"{first}\n"), first).status == 0
    done = push(pack(f"{second}\n^{first}\n"), second)
    assert (root / "releases" / done.result.text("release") / "app.py").read_text() == (
        "print('two')\n"
    )
    assert push("", second).status == 0, "what the host has needs no pack"


# -- install -----------------------------------------------------------------------------------


def install(root: Path, release: str, *files: str, tool: str = "pip", tree: str = "tree") -> Ran:
    words = (str(root), release, tree, tool, sys.executable, "", "", str(len(files)), *files)
    script = Script("install", words, libraries=("dependencies",))
    return run(script, environment={"PIP_NO_INDEX": "1", "UV_OFFLINE": "1"})


def release(root: Path, name: str = "20260101T000000Z-aaaaaaa", **files: str) -> Path:
    place = root / "releases" / name
    place.mkdir()
    for file, text in files.items():
        (place / file.replace("__", ".")).write_text(text)
    return place


def test_an_environment_is_built_once_for_the_same_requirements(root: Path) -> None:
    first = release(root, requirements__txt="")
    second = release(root, "20260102T000000Z-bbbbbbb", requirements__txt="")
    built = install(root, first.name, "requirements.txt")
    reused = install(root, second.name, "requirements.txt")
    assert [ran.result.text("reused") for ran in (built, reused)] == ["no", "yes"]
    assert (second / ".venv/bin/python").resolve() == (first / ".venv/bin/python").resolve()
    assert (first / ".venv").resolve() == root / "venvs" / built.result.text("hash")


def test_a_project_without_requirements_has_its_python_too(root: Path) -> None:
    place = release(root)
    assert install(root, place.name).result.text("reused") == "no"
    said = subprocess.run(
        [place / ".venv/bin/python", "-c", "import sys; print(sys.prefix != sys.base_prefix)"],
        capture_output=True,
        text=True,
    )
    assert said.stdout == "True\n"
    assert install(root, place.name).result.text("reused") == "yes"


def test_the_hash_follows_included_files_and_not_their_order_on_disk(root: Path) -> None:
    place = release(root, requirements__txt="-r more.txt\n", more__txt="# one\n")
    first = install(root, place.name, "requirements.txt").result.text("hash")
    (place / "more.txt").write_text("# two\n")
    assert install(root, place.name, "requirements.txt").result.text("hash") != first


def test_a_dependency_on_the_own_code_changes_with_the_code(root: Path) -> None:
    place = release(root, requirements__txt="# ./none\n", local__txt="-e .\n")
    (place / "pyproject.toml").write_text("not toml at all")
    plain = [install(root, place.name, "requirements.txt", tree=tree) for tree in ("a", "b")]
    local = [install(root, place.name, "local.txt", tree=tree) for tree in ("a", "b")]
    assert len({ran.result.text("hash") for ran in plain}) == 1
    assert len({ran.result.text("hash") for ran in local}) == 2


def test_an_environment_that_was_not_finished_is_built_anew(root: Path) -> None:
    place = release(root, requirements__txt="")
    built = install(root, place.name, "requirements.txt")
    venv = root / "venvs" / built.result.text("hash")
    (venv / ".complete").unlink()
    (venv / "half").touch()
    assert install(root, place.name, "requirements.txt").result.text("reused") == "no"
    assert not (venv / "half").exists()


def test_what_cannot_be_installed_leaves_no_environment_that_counts(root: Path) -> None:
    place = release(root, requirements__txt="there-is-no-such-package==1.0\n")
    done = install(root, place.name, "requirements.txt")
    assert done.code == "not-installable"
    assert not list((root / "venvs").glob("*/.complete"))
    assert any("there-is-no-such-package" in line for line in done.lines)


def commands() -> Iterator[str]:
    """The argument lists of all processes, as everybody on this machine can read them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield path.read_text(errors="replace")


@pytest.mark.parametrize("tool", ["pip", "uv"])
def test_the_password_of_a_package_index_is_in_no_argument_list(root: Path, tool: str) -> None:
    place = release(root, requirements__txt="ours==1.0\n")
    asked: list[str] = []

    class Index(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization", ""))
            asked.extend(commands())
            self.send_error(404 if asked[0] else 401)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://ann:of-nobody-else@127.0.0.1:{server.server_port}/simple"
        words = (str(root), place.name, "tree", tool, sys.executable, "", url, "1")
        script = Script("install", (*words, "requirements.txt"), libraries=("dependencies",))
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        refused = run(script, environment={"PATH": path})
        server.shutdown()

    assert refused.code == "not-installable"
    assert not refused.result.all("notice"), "uv is here"

    basic = base64.b64encode(b"ann:of-nobody-else").decode()
    assert f"Basic {basic}" in asked, "it was used"
    # The test itself gives the script to bash in its arguments, which a session does not.
    seen = [command for command in asked if "of-nobody-else" in command and TOKEN not in command]
    assert not seen


def test_a_missing_requirements_file_is_named(root: Path) -> None:
    done = install(root, release(root).name, "requirements.txt")
    assert done.code == "no-requirements"
    assert "requirements.txt" in done.result.text("fail.message")


# -- models ------------------------------------------------------------------------------------


def test_a_model_that_arrives_damaged_is_refused(root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "weights").write_text("w\n")
    sums = subprocess.check_output(["sha256sum", "./weights"], cwd=folder)
    model = hashlib.sha256(sums).hexdigest()
    folder.rename(root / "models" / model)
    (root / "models" / model / ".complete").touch()
    sender = HostFacts("a", PurePosixPath(root), python=sys.executable)
    artifact = distribute.artifact(run(distribute.read_model(sender, model)).result)
    other = tmp_path / "other"
    (other / "models").mkdir(parents=True)

    def write(name: str) -> Ran:
        facts = HostFacts("b", PurePosixPath(other), python=sys.executable)
        return run(distribute.write_model(facts, name, artifact))

    assert write("0" * 64).code == "damaged"
    assert not list((other / "models").iterdir())
    assert write(model).status == 0
    assert (other / "models" / model / "weights").read_text() == "w\n"


# -- test --------------------------------------------------------------------------------------


def test_failing_tests_refuse_the_release(root: Path) -> None:
    place = release(root)
    script = Script("test", (str(root), place.name, "echo one test failed; exit 1"), ("release",))
    done = run(script)
    assert done.code == "tests-failed"
    assert "one test failed" in done.lines


# -- stage, switch, finish ---------------------------------------------------------------------

# The service manager is a pretended one here: it notes what it is told and starts nothing. The real
# ones are tested with supervisor (tests/sandbox) and systemd (tests/fleet).
MANAGER = """
service_start() { echo "start $1" >>"$root/told"; }
service_restart() { echo "restart $1 $(readlink "$root/current")" >>"$root/told"; }
service_stop() { echo "stop $1" >>"$root/told"; }
service_state() { echo inactive; }
service_pid() { echo ''; }
service_moment() { :; }
service_log() { echo "the last line of $1"; }
require_due() { :; }
"""


def request(command: str, *, steady: bool = False, timeout: float = 0.3) -> str:
    return json.dumps(
        {"host": "h", "port": 1, "path": "/", "status": 200, "fields": {}, "command": command,
         "timeout": timeout, "interval": 0.05, "steady": steady}
    )  # fmt: skip


NO_GOLDEN = ("", "", "")


def stage(
    root: Path,
    *,
    healthy: str = "true",
    linked: tuple[str, ...] = (),
    prove: str = "yes",
    golden: tuple[str, str, str] = NO_GOLDEN,
    address: str = "127.0.0.1:8000",
) -> Ran:
    place = root / "releases" / "20260101T000000Z-aaaaaaa"
    if not place.exists():
        release(root)
    words = (
        str(root), "app", place.name, "", "", "A='1'\n", "#!/bin/sh\n", "{}\n", '{"a": 1}', prove,
        sys.executable, program(), request(healthy), *golden, "30", "", address, *linked,
    )  # fmt: skip
    libraries = ("manifest", "release", "in_place")
    return run(Script("stage", words, libraries=libraries), before=MANAGER)


def test_a_host_that_was_set_up_for_another_port_is_told_before_anything_begins(root: Path) -> None:
    (root / "slots/live/env").write_text("# managed\nBIND='127.0.0.1'\nPORT='8000'\n")
    done = stage(root, address="127.0.0.1:8001")

    assert done.code == "not-set-up"
    assert (
        "set up to serve at 127.0.0.1:8000, and hosts.toml says 127.0.0.1:8001"
        in done.result.text("fail.message")
    )
    assert not (root / "told").exists(), "nothing was started"
    assert stage(root).status == 0
    (root / "slots/live/env").write_text("BIND='0.0.0.0'\nPORT='8000'\n")
    assert stage(root).status == 0, "at every address is at this one, too"


def test_a_release_is_whole_only_after_it_was_proven(root: Path) -> None:
    place = root / "releases" / "20260101T000000Z-aaaaaaa"
    assert stage(root, healthy="exit 7").code == "unhealthy"
    assert not (place / "release.json").exists()
    assert not (root / "journal.jsonl").exists()
    done = stage(root)
    assert done.status == 0
    assert (place / "release.json").exists()
    assert (root / "journal.jsonl").read_text() == '{"a": 1}\n'
    assert (root / "told").read_text().splitlines()[-2:] == ["start staged", "stop staged"]
    assert not (root / "slots/staged/release").exists()


def test_an_unhealthy_release_shows_what_the_service_wrote(root: Path) -> None:
    done = stage(root, healthy="echo the database is gone; exit 7")
    assert "the last line of staged" in done.lines
    assert "the database is gone" in done.result.text("fail.message")


def test_a_release_whose_golden_requests_are_not_answered_is_stopped_and_not_whole(
    root: Path,
) -> None:
    place = release(root, golden__jsonl='{"request": 1}\n')
    settings = Golden.model_validate({"file": "golden.jsonl", "timeout": "1s"})
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        done = stage(root, golden=proof(settings, "127.0.0.1", port))
    assert done.code == "golden"
    assert "is not ready: only 0 of 1 golden requests were answered" in done.result.text(
        "fail.message"
    )
    assert not (place / "release.json").exists()
    assert (root / "told").read_text().splitlines()[-1] == "stop staged"


def test_the_environment_of_a_release_is_not_for_everybody(root: Path) -> None:
    stage(root)
    place = root / "releases/20260101T000000Z-aaaaaaa/.aideploy"
    assert oct((place / "env").stat().st_mode & 0o777) == "0o640"
    assert os.access(place / "serve", os.X_OK)


def test_linked_files_come_from_shared_and_must_be_there(root: Path) -> None:
    assert stage(root, linked=("conf/secret.ini",)).code == "no-linked-file"
    (root / "shared/conf").mkdir(exist_ok=True)
    (root / "shared/conf/secret.ini").write_text("x")
    stage(root, linked=("conf/secret.ini", "data/"))
    place = root / "releases/20260101T000000Z-aaaaaaa"
    assert (place / "conf/secret.ini").read_text() == "x"
    (place / "data/written").write_text("kept")
    assert (root / "shared/data/written").read_text() == "kept"


def test_a_model_too_large_for_two_is_not_started_beside(root: Path) -> None:
    assert stage(root, prove="no").status == 0
    assert not (root / "told").exists()


def switch(
    root: Path,
    name: str,
    *,
    healthy: str = "true",
    way: tuple[str, str] = ("on", '{"live": 1}'),
    gpu: str = "",
) -> Ran:
    asked = (sys.executable, program(), request(healthy), "", *NO_GOLDEN)
    words = (str(root), "app", name, *way, *asked, "", "", gpu, "1")
    return run(Script("switch", words, libraries=("due", "release", "in_place")), before=MANAGER)


def test_current_moves_before_the_service_restarts(root: Path) -> None:
    place = release(root, release__json="{}")
    assert switch(root, place.name).status == 0
    assert (root / "current").readlink() == Path("releases", place.name)
    assert (root / "told").read_text() == f"restart live releases/{place.name}\n"


# Stands in for gpu.py, which has tests of its own: says whether the memory became free.
GPU = """
import pathlib, sys
if sys.argv[1] == "look":
    print("before")
else:
    told = pathlib.Path("{root}/told")
    told.write_text(told.read_text() + " ".join(sys.argv[1:]) + "\\n")
    print("5 MiB are not free")
    sys.exit({status})
"""


def test_a_service_starts_when_the_memory_of_its_gpu_is_free(root: Path) -> None:
    place = release(root, release__json="{}")
    assert switch(root, place.name, gpu=GPU.format(root=root, status=0)).status == 0
    assert (root / "told").read_text().splitlines() == [
        "stop live",
        "wait before 1",
        f"restart live releases/{place.name}",
    ]


def test_memory_that_does_not_become_free_stops_a_switch_but_no_way_back(root: Path) -> None:
    old = release(root, release__json="{}")
    new = release(root, "20260102T000000Z-aaaaaaa", release__json="{}")
    busy = GPU.format(root=root, status=1)
    refused = switch(root, new.name, gpu=busy)
    assert refused.code == "gpu-busy"
    assert refused.result.text("fail.message") == "5 MiB are not free"
    assert "restart" not in (root / "told").read_text()
    assert switch(root, old.name, way=("back", "{}"), gpu=busy).status == 0
    assert (root / "told").read_text().endswith(f"restart live releases/{old.name}\n")


def test_current_never_points_to_a_release_that_is_not_whole(root: Path) -> None:
    place = release(root)
    assert switch(root, place.name).code == "no-release"
    assert not (root / "current").exists()


def test_going_back_to_nothing_stops_the_service(root: Path) -> None:
    place = release(root, release__json="{}")
    switch(root, place.name)
    assert switch(root, "").status == 0
    assert not (root / "current").is_symlink()
    assert (root / "told").read_text().splitlines()[-1] == "stop live"


def test_the_way_back_is_taken_once_whoever_is_first_and_the_journal_says_when(root: Path) -> None:
    old = release(root, release__json="{}")
    new = release(root, "20260102T000000Z-aaaaaaa", release__json="{}")
    switch(root, old.name)
    (root / "due").mkdir()
    armed = Calls(
        "calls", libraries=("due",), body=f"root={root}\ndue_at revert 600 'goes back' <<<true"
    )
    assert run(armed).status == 0
    switch(root, new.name)
    assert (root / "due/revert").exists(), "it stays until it is confirmed, or taken"
    line = Entry(Verdict.REVERTED, new.name, datetime(2020, 1, 1, tzinfo=UTC), "ann", "why").line()

    for _ in range(2):
        assert switch(root, old.name, way=("back", line)).status == 0

    assert (root / "told").read_text().count(f"restart live releases/{old.name}") == 2
    assert not (root / "due/revert").exists()
    [reverted] = [
        entry
        for entry in Journal.parse((root / "journal.jsonl").read_bytes()).entries
        if entry.verdict is Verdict.REVERTED
    ]
    assert reverted.at > datetime.now(UTC) - timedelta(minutes=1)
    assert (reverted.release, reverted.who, reverted.why) == (new.name, "ann", "why")

    ill = switch(root, old.name, way=("back", line), healthy="exit 1")
    assert "it went back by itself: " in ill.result.text("fail.message")


def test_a_torn_line_of_the_journal_stays_alone(root: Path) -> None:
    place = release(root, release__json="{}")
    (root / "journal.jsonl").write_text('{"whole": 1}\n{"torn')
    switch(root, place.name)
    assert (root / "journal.jsonl").read_text().splitlines() == [
        '{"whole": 1}',
        '{"torn',
        '{"live": 1}',
    ]


def test_many_failures_in_a_row_do_not_hide_what_was_good_before(root: Path) -> None:
    kept = release(root, release__json="{}").name
    half = release(root, "20260102T000000Z-bbbbbbb").name
    said = [
        Entry(verdict, name, datetime(2026, 1, 1, tzinfo=UTC))
        for verdict, name in (
            *((Verdict.LIVE, kept), (Verdict.GOOD, kept), (Verdict.GOOD, half)),
            *((Verdict.BAD, f"20260103T{number:06}Z-ccccccc") for number in range(9)),
        )
    ]
    (root / "journal.jsonl").write_text("".join(f"{entry.line()}\n" for entry in said))

    def known(lines: int) -> tuple[Entry, ...]:
        words = (str(root), sys.executable, str(lines))
        looked = run(Script("open", words, libraries=("files", "journal", "patience")))
        return Journal.parse(looked.result.data("journal")).entries

    assert known(3) == (*said[:2], *said[-3:])
    assert known(200) == tuple(said)
    (root / "releases" / kept / "release.json").unlink()
    assert known(3) == tuple(said[-3:])


def finish(root: Path, *keep: str) -> Ran:
    words = (str(root), "app", '{"good": 1}', "", "", *keep)
    return run(Script("finish", words, libraries=("release",)))


def test_making_room_never_takes_what_is_kept_or_live(root: Path) -> None:
    names = [f"2026010{day}T000000Z-aaaaaaa" for day in range(1, 5)]
    for number, name in enumerate(names):
        place = release(root, name, release__json="{}")
        for kind, link in (("venvs", ".venv"), ("models", "model")):
            (root / kind / f"{kind}{number}").mkdir()
            (place / link).symlink_to(root / kind / f"{kind}{number}")
    (root / "current").symlink_to(f"releases/{names[0]}")
    done = finish(root, names[3])
    assert sorted(path.name for path in (root / "releases").iterdir()) == [names[0], names[3]]
    assert sorted(path.name for path in (root / "venvs").iterdir()) == ["venvs0", "venvs3"]
    assert sorted(path.name for path in (root / "models").iterdir()) == ["models0", "models3"]
    assert done.result.text("pruned") == "2"


def test_making_room_works_where_the_root_is_reached_through_a_link(
    root: Path, tmp_path: Path
) -> None:
    place = release(root, release__json="{}")
    (root / "venvs/used").mkdir()
    (place / ".venv").symlink_to("../../venvs/used")
    (tmp_path / "elsewhere").symlink_to(root)
    finish(tmp_path / "elsewhere", place.name)
    assert (root / "venvs/used").exists()


def test_making_room_finds_a_model_however_deep_it_lies_and_whatever_the_root_is_called(
    tmp_path: Path,
) -> None:
    root = tmp_path / "c++" / "(srv)"
    for name in ("releases", "venvs/used", "venvs/unused", "models/used", "models/unused"):
        (root / name).mkdir(parents=True)
    (root / "models/used/model.bin").write_bytes(b"weights")
    place = release(root, release__json="{}")
    (place / ".venv").symlink_to("../../venvs/used")
    deep = place / "out/of/the/way/of/everybody"
    deep.mkdir(parents=True)
    # A single file, as link_model links it, beside a link of the project's own that leads nowhere.
    (deep / "model.bin").symlink_to(root / "models/used/model.bin")
    (deep / "gone").symlink_to("nowhere/models/at/all")

    assert finish(root, place.name).status == 0

    assert [path.name for path in (root / "models").iterdir()] == ["used"]
    assert [path.name for path in (root / "venvs").iterdir()] == ["used"]


def test_who_cannot_find_out_what_is_in_use_removes_nothing(root: Path) -> None:
    place = release(root, release__json="{}")
    (root / "venvs/used").mkdir()
    (place / ".venv").symlink_to("../../venvs/used")
    words = (str(root), "app", "", "", "", place.name)
    # As on a host that has no memory, or no process, left for it.
    out_of_memory = 'readlink() { [ "$1" != -m ] && command readlink "$@"; }'
    script = Script("finish", words, libraries=("release",))
    assert run(script, before=out_of_memory).status != 0
    assert (root / "venvs/used").exists()


@pytest.mark.parametrize("name", ["json", "socket", "os", "time"])
def test_what_lies_in_the_home_of_the_user_is_none_of_our_modules(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / f"{name}.py").write_text("raise SystemExit('this is mine')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    place = release(root, release__json="{}")
    done = switch(root, place.name)
    assert done.status == 0, done.output


def test_a_file_that_would_make_half_a_release_look_whole_is_refused(
    root: Path, repository: Path
) -> None:
    commit(repository, release__json="{}")
    done = fetch(root, repository, "main")
    assert done.code == "own-name"
    assert "release.json" in done.message
    assert list((root / "releases").iterdir()) == []
    # Elsewhere it is the project's own affair.
    (repository / "app").mkdir()
    git(repository, "mv", "release.json", "app/")
    commit(repository)
    assert fetch(root, repository, "main").status == 0
    assert fetch(root, repository, "main", folder="app").code == "own-name"
