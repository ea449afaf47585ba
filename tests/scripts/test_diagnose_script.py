"""Promises of diagnose.sh: it tells what is there, no values of secrets, and changes nothing."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aideploy.diagnosis import look
from aideploy.diagnosis.look import HostLook, Link
from aideploy.phases.journal import Entry, Verdict
from tests.hosts_toml import loaded
from tests.scripts.running import Ran, run

RELEASE = "20260101T000000Z-aaaaaaa"
SETTINGS = """
[app]
name = "ranker"
repository = "/unused"
deploy_to = "{root}"
[train]
command = "x"
[serve]
command = "serve"
manager = "supervisor"
port = {port}
secrets = ["TOKEN", "PEM"]
linked = ["secrets.env", "data/"]
[environments.production.hosts.web1]
address = "web1"
"""
SECRETS = ("hunter2", "not-for-you", "abc=def")
# What is asked of the service manager, as supervisor would answer.
MANAGER = """
service_state() { printf 'active\\n'; }
service_log() { printf 'one\\ntwo %s\\n' "$(printf 'x%.0s' {1..900})"; }
supervisorctl() { printf 'ranker-live RUNNING pid 1\\n'; }
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "srv"
    release = root / "releases" / RELEASE
    (release / ".aideploy").mkdir(parents=True)
    (root / "shared").mkdir()
    (root / "current").symlink_to(f"releases/{RELEASE}")
    (release / "release.json").write_text('{\n  "revision": "abcdef0"\n}\n')
    (release / ".aideploy" / "env").write_text(
        'TOKEN="hunter2"\nPEM="first\nabc=def\n\\"QUOTED=\\" not-for-you"\nEMPTY=""\n'
        f'REVISION="abcdef0"\nMODEL_DIR="{root}/models/x"\n'
    )
    (release / "model").symlink_to("../../models/x")
    (release / ".venv").symlink_to("../../venvs/y")
    return root


def looked(root: Path, port: int = 8000, before: str = "") -> tuple[HostLook, Ran]:
    settings = loaded(root.parent, SETTINGS.format(root=root, port=port))
    ran = run(look.script(settings, settings.hosts[0]), before=MANAGER + before)
    assert ran.status == 0, ran.lines
    return look.read("web1", ran.result), ran


def test_of_variables_only_the_names_are_told(root: Path) -> None:
    found, ran = looked(root)

    assert found.variables == frozenset({"TOKEN", "PEM", "EMPTY", "REVISION", "MODEL_DIR"})
    assert found.empty == {"EMPTY"}
    everything = repr(ran.result.facts) + "".join(ran.lines)
    assert not [secret for secret in SECRETS if secret in everything]


def test_links_to_nothing_and_files_that_are_missing_are_told(root: Path) -> None:
    found, _ = looked(root)

    links = {link.name: link.state for link in found.links}
    assert links == {
        **{"current": "ok", "venv": "dangling", "model": "dangling", "model-dir": "missing"}
    }
    assert found.link("model") == Link(
        "model", "dangling", f"{root}/current/model", "../../models/x"
    )
    assert found.interpreter.startswith("127")
    assert found.missing_linked == (f"{root}/shared/secrets.env",)
    (root / "models" / "x").mkdir(parents=True)
    assert {link.state for link in looked(root)[0].links if "model" in link.name} == {"ok"}


def test_who_holds_a_port_is_told_without_a_connection_to_it(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        taken.settimeout(0.2)
        found, _ = looked(root, number)
        # Only the health is asked; nothing else may have come.
        connections = 0
        while True:
            try:
                connection, _ = taken.accept()
            except TimeoutError:
                break
            connection.close()
            connections += 1
    port = next(port for port in found.ports if port.name == "live")
    assert (port.number, bool(port.user)) == (number, True)
    assert str(os.getpid()) in port.who
    assert connections <= 1


def test_the_log_is_cut_and_the_machine_is_described(root: Path) -> None:
    found, _ = looked(root)

    assert found.log[0] == "one"
    assert len(found.log[1]) == 500
    assert found.service == "active"
    assert found.memory["MemTotal"] > 0
    assert found.disks[0].total > found.disks[0].free >= 0
    assert found.set_up
    assert found.healthy is False


def test_what_was_good_is_known_however_many_failures_came_after(root: Path) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    failed = (Entry(Verdict.BAD, f"20260103T{number:06}Z-ccccccc", at) for number in range(300))
    said = (Entry(Verdict.GOOD, RELEASE, at), *failed)
    (root / "journal.jsonl").write_text("".join(f"{entry.line()}\n" for entry in said))

    found, _ = looked(root)

    assert found.journal.good() == (RELEASE,)


def test_where_nothing_was_ever_set_up_it_says_so(tmp_path: Path) -> None:
    found, _ = looked(tmp_path / "nowhere")
    assert not found.set_up
    assert not found.release


def test_it_changes_nothing(root: Path) -> None:
    def state() -> str:
        told = [f"{path} {path.lstat().st_mtime_ns}" for path in sorted(root.rglob("*"))]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    before = state()
    looked(root)
    assert state() == before


def test_a_part_that_hangs_is_named_and_hides_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_PART_SECONDS", 4)
    began = time.monotonic()
    found, _ = looked(root, before="service_log() { emit slot hung; sleep 977; }")
    assert time.monotonic() - began < 30
    assert found.unanswered == ("the service",)
    assert found.service == "active" and found.release == RELEASE and found.memory
    assert not [line for line in processes() if "sleep 977" in line]


def test_when_the_time_for_all_is_over_the_rest_is_named_and_not_begun(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "_ALL_SECONDS", 2)
    found, _ = looked(root, before="emit_standing() { sleep 978; }")
    assert found.unanswered == ("the lock", "the release", "the service", "the kernel", "the GPUs")
    assert found.set_up


def test_who_waits_for_diagnose_leaves_nothing_behind_when_it_is_stopped(root: Path) -> None:
    settings = loaded(root.parent, SETTINGS.format(root=root, port=8000))
    text = look.script(settings, settings.hosts[0]).text()
    head, _, tail = text.rpartition("\nset -- ")
    text = f"mark_token=x\n{head}\nemit_standing() {{ sleep 979; }}\nset -- {tail}"
    with subprocess.Popen(["bash", "-c", text], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while b"the lock" not in process.stdout.readline():
            pass
        end = time.monotonic() + 10
        while not [line for line in processes() if "sleep 979" in line]:
            assert time.monotonic() < end
        process.terminate()
        process.stdout.close()
    assert not [line for line in processes() if "sleep 979" in line]


def processes() -> list[str]:
    told = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    return [line for line in told.stdout.splitlines() if line.startswith("sleep ")]
