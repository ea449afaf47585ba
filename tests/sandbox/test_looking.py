"""What people see who ask: status, releases, history, logs, check, plan; and exec, lock, unlock.

`fab` runs as a process of its own on sandbox hosts that have a live release. Tests that change what
the hosts hold put it back.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.typed import begun
from tests.waiting import eventually

from .small_project import APP, SmallProject, program, small_project

_SAYS_WHAT_IT_IS_ASKED = program("""\
def answer(request):
    # In one piece: another thread may say something, too.
    print(f"asked for {request.path}\\n", end="", flush=True)
    request.say(IS, 500 if os.path.exists("/proc/self/cwd/../../shared/ill") else 200)
""")
_ASKING = ("status", "releases", "history", "logs", "check")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallProject]:
    """Two releases on three hosts, of which the second is live everywhere."""
    with small_project(tmp_path_factory.mktemp("looking"), hosts=3) as project:
        project.succeeds("setup")
        project.succeeds("deploy")
        project.commit({"service.py": _SAYS_WHAT_IT_IS_ASKED}, "Say what is asked")
        project.succeeds("deploy")
        yield project


@pytest.fixture
def with_ghost(project: SmallProject) -> Iterator[SmallProject]:
    """The project with one more host, on which nothing listens."""
    environment = project.up.environment_toml(app=APP, port=project.port)
    ghost = '[environments.sandbox.hosts.ghost]\naddress = "127.0.0.1"\nport = 1\n'
    project.settle(hosts=f"{environment}\n{ghost}")
    yield project
    project.settle()


def test_status_says_what_every_host_serves_since_when_and_how_it_is(project: SmallProject) -> None:
    status = _json(project, "status")

    live = project.on_host().current
    commit = project.git("rev-parse", "HEAD")
    assert [host["host"] for host in status["hosts"]] == ["host1", "host2", "host3"]
    for host in status["hosts"]:
        assert (host["release"], host["condition"]["revision"]) == (live, commit)
        assert (host["condition"]["service"], host["condition"]["healthy"]) == ("active", True)
        assert host["since"] and "@" in host["by"] and host["free"] > 0
    assert (status["last_good"], status["differing"]) == (live, [])
    table = project.fab("status").text
    assert table.count(live or "nothing") == 3
    assert "HOST" in table.splitlines()[0]


def test_status_says_that_a_service_is_ill_and_why(project: SmallProject) -> None:
    ill = project.root("host2") / "shared" / "ill"
    ill.touch()
    try:
        status = project.fab("status")
    finally:
        ill.unlink()

    said = status.text
    assert status.status == 3
    assert said.count("not healthy") == 1
    assert "host2: http://" in said
    assert "answered 500, expected 200" in said


def test_a_host_that_serves_another_release_is_named(project: SmallProject) -> None:
    current = project.root("host3") / "current"
    here = str(current.readlink())
    other = sorted(project.on_host("host3").releases)[0]
    _point(current, f"releases/{other}")
    try:
        status = _json(project, "status", expected=3)
        said = project.fab("status").text
    finally:
        _point(current, here)

    assert status["differing"] == ["host3"]
    assert f"host3: serves {other}, the last good release is {here.rpartition('/')[2]}" in said


@pytest.mark.parametrize("command", _ASKING)
def test_a_host_that_is_down_is_named_and_hides_nothing(
    with_ghost: SmallProject, command: str
) -> None:
    done = _fab(with_ghost, command, "--json")

    assert done.returncode == 3
    assert "host1" in json.dumps(json.loads(done.stdout))
    assert "ghost" in done.stderr
    assert "connection refused" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert _fab(with_ghost, command).stdout.count("host2") > 0


def test_exec_runs_on_the_others_when_a_host_is_down(with_ghost: SmallProject) -> None:
    done = _fab(with_ghost, "exec", "echo here")

    assert done.returncode == 3
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == [
        "host1",
        "host2",
        "host3",
    ]
    assert "ghost" in done.stderr


@pytest.mark.parametrize("command", [*_ASKING, "plan"])
def test_the_facts_are_one_json_document_and_nothing_else(
    project: SmallProject, command: str
) -> None:
    done = _fab(project, command, "--json")

    assert (done.returncode, done.stderr) == (0, "")
    assert isinstance(json.loads(done.stdout), dict)


def test_releases_say_which_is_live_and_where_rollback_goes(project: SmallProject) -> None:
    newest, older = _json(project, "releases")["releases"]

    assert newest["release"] > older["release"]
    assert (newest["live"], newest["rollback_goes_here"]) == (["host1", "host2", "host3"], False)
    assert (older["live"], older["rollback_goes_here"]) == ([], True)
    assert (newest["verdict"], older["verdict"]) == ("good", "good")
    assert "rollback" in project.fab("releases").text


def test_history_tells_a_deploy_once_for_all_hosts(project: SmallProject) -> None:
    events = _json(project, "history")["events"]

    assert [event["verdict"] for event in events] == ["prepared", "live", "good"] * 2
    assert all(event["hosts"] == ["host1", "host2", "host3"] for event in events)
    assert len(_json(project, "history", "--limit", "2")["events"]) == 2


def test_a_hostile_journal_cannot_touch_the_terminal(project: SmallProject) -> None:
    journal = project.root("host1") / "journal.jsonl"
    before = journal.read_bytes()
    naughty = {
        "at": "2026-01-01T00:00:00",
        "verdict": "bad",
        "release": "\x1b[2J\x1b]0;owned\x07gone",
        "who": "eve\x9b31m@evil",
        "why": "first\nsecond \u202e line",
    }
    far = {**naughty, "at": "0001-01-01T00:00:00+14:00"}
    lines = [
        json.dumps(naughty),
        json.dumps(far),
        '{"at": "2026-',
        "[1, 2]",
        "[" * 100_000,
        "\x1b[",
    ]
    journal.write_bytes(before + "\n".join(lines).encode())
    try:
        said = project.fab("history")
        events = _json(project, "history")["events"]
    finally:
        journal.write_bytes(before)

    assert said.status == 0
    assert "gone" in said.text and "eve" in said.text
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(said.text)
    assert len(events) == 7


def test_logs_show_the_last_lines_of_every_host(project: SmallProject) -> None:
    project.fab("status")

    said = project.fab("logs", "--lines", "1").text

    assert sorted(said.splitlines()) == [f"host{n} | asked for /healthz" for n in (1, 2, 3)]


def test_logs_are_searched_before_the_last_lines_are_taken(project: SmallProject) -> None:
    for host in project.hosts:
        asked_for(project, host.name, "/a%20needle")
    for _ in range(2):
        project.fab("status")

    said = project.fab("logs", "--lines", "1", "--grep", r"n[e]{2}dle$").text

    assert sorted(said.splitlines()) == [f"host{n} | asked for /a%20needle" for n in (1, 2, 3)]
    assert project.fab("logs", "--level", "error").text == ""


def test_logs_name_the_host_that_has_none(project: SmallProject) -> None:
    log = project.root("host2") / "slots" / "live" / "log"
    log.rename(log.with_name("away"))
    try:
        ran = project.fab("logs")
    finally:
        log.with_name("away").rename(log)

    assert ran.status == ExitStatus.NOT_READY
    assert "it went wrong on host2" in ran.text
    assert "there is no log of the slot live" in ran.text
    assert "fab deploy, or fab setup" in ran.text
    assert "line 1" not in ran.text, "what the shell says of it is no help"
    assert "host1 | " in ran.text


def asked_for(project: SmallProject, host: str, path: str) -> None:
    """Ask the service of a host for a path, which it then says in its log."""
    url = f"http://{project.host(host).address}:{project.port}{path}"
    urllib.request.urlopen(url, timeout=10).close()


def interrupt(command: subprocess.Popen[str]) -> None:
    """Press Ctrl-C and wait until it has ended."""
    os.killpg(command.pid, signal.SIGINT)
    rest, _ = command.communicate(timeout=30)
    assert "Traceback" not in rest


def test_following_logs_shows_what_comes_and_ends_without_a_trace(project: SmallProject) -> None:
    with _started(project, "logs", "--follow", "--lines", "1") as following:
        assert following.stdout is not None
        assert "asked for" in following.stdout.readline()
        assert _processes_of(project, "tail -n 1000 -F")
        project.fab("status")
        assert "asked for" in "".join(following.stdout.readline() for _ in range(5))

        interrupt(following)

    assert following.returncode == 0
    assert eventually(lambda: not _processes_of(project, "tail -n 1000 -F"))


def test_exec_runs_in_the_live_release_and_its_environment(project: SmallProject) -> None:
    found = _json(project, "exec", 'pwd -P; echo "$RELEASE"; command -v python3')

    for host in found["hosts"]:
        release = project.on_host(host["host"]).current
        folder, named, _ = host["output"]
        assert folder.endswith(f"/{host['host']}/{APP}/releases/{release}")
        assert (named, host["status"]) == (release, 0)


def test_exec_names_the_hosts_where_the_command_failed(project: SmallProject) -> None:
    command = 'echo "on $AIDEPLOY_SANDBOX_HOST"; [ "$AIDEPLOY_SANDBOX_HOST" != host2 ] || exit 7'
    done = _fab(project, "exec", command)

    assert done.returncode == 3
    assert "host1 | on host1\n" in done.stdout
    assert "host2: the command ended with status 7" in done.stderr
    assert "host1" not in done.stderr


def test_ctrl_c_ends_what_exec_started_on_the_hosts(project: SmallProject) -> None:
    with _started(project, "exec", "echo begun; sleep 4321") as running:
        assert running.stdout is not None
        assert all("begun" in running.stdout.readline() for _ in range(3))

        interrupt(running)

    assert running.returncode == 130
    assert eventually(lambda: not _processes_of(project, "sleep 4321"))


def test_a_lock_keeps_everybody_out_until_it_is_taken_back(project: SmallProject) -> None:
    locked = project.fab("lock", "moving\nhouse")
    try:
        refused = project.fab("deploy")
        again = project.fab("lock", "me too")
        status = project.fab("status").text
    finally:
        unlocked = project.fab("unlock")

    assert (locked.status, refused.status, again.status) == (0, 7, 7)
    assert "moving house" in refused.text and "fab unlock" in refused.text
    assert "moving house" in again.text
    assert "all 3 hosts: locked on purpose by" in status
    assert unlocked.status == 0 and "moving house" in unlocked.text
    assert not any((project.root(name) / "held").exists() for name in ("host1", "host2", "host3"))
    assert "nothing to unlock" in project.fab("unlock").text


def test_a_lock_is_on_all_hosts_or_on_none(project: SmallProject) -> None:
    with _deploy_by_somebody_else(project, "host2"):
        refused = project.fab("lock", "moving house")

    assert refused.status == 7
    assert "host2 is locked by bob@desk (deploy)" in refused.text
    assert not any((project.root(name) / "held").exists() for name in ("host1", "host2", "host3"))


def test_setup_keeps_out_of_a_deploy_and_waits_where_it_is_told_to(project: SmallProject) -> None:
    with _deploy_by_somebody_else(project, "host2"):
        refused = project.fab("setup")
        waiting = subprocess.Popen(
            project.command("setup", "--wait-lock"),
            cwd=project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        time.sleep(5)
        assert waiting.poll() is None
    assert refused.status == 7
    assert "host2 is locked by bob@desk (deploy)" in refused.text
    said, _ = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, said


def test_a_running_deploy_is_seen_and_cannot_be_unlocked(project: SmallProject) -> None:
    with _deploy_by_somebody_else(project, "host2"):
        status = project.fab("status")
        plan = project.fab("plan")
        unlock = project.fab("unlock")

    assert (status.status, plan.status) == (0, 0)
    assert "host2: locked by bob@desk (deploy) since" in status.text
    assert "a command is running, by bob@desk (deploy)" in unlock.text
    assert "its lock ends with it" in unlock.text


def test_a_lock_needs_a_reason(project: SmallProject) -> None:
    assert project.fab("lock", " \n ").status == 2


def test_check_finds_the_hosts_of_a_running_application_ready(project: SmallProject) -> None:
    done = project.fab("check")

    assert done.status == 0
    assert done.text.count("✓") == 4


def test_check_says_what_is_wrong_and_what_to_do(project: SmallProject) -> None:
    configuration = project.home("host1") / "supervisor/conf.d" / f"{APP}.conf"
    before = configuration.read_text()
    configuration.write_text(before + "\n; mine\n")
    project.settle(serve={"linked": [".env"]}, app={"branch": "nowhere"})
    try:
        problems = _wrong(project)
    finally:
        configuration.write_text(before)
        project.settle()

    file, linked, branch = [problem for problem in problems if problem["host"] == "host1"]
    assert file["what"].endswith(f"{APP}.conf is not as the settings want it")
    assert file["next_step"].startswith("fab setup")
    assert linked["what"].endswith("shared/.env is missing; it is in [serve] linked")
    assert branch["what"] == "the repository has no branch nowhere"
    assert len([problem for problem in problems if problem["host"] == "host2"]) == 2


def test_check_sees_that_a_host_was_not_set_up(project: SmallProject) -> None:
    project.settle(
        hosts=project.up.environment_toml(app="elsewhere", port=project.port),
    )
    try:
        problems = _wrong(project)
    finally:
        project.settle()

    told = {problem["what"] for problem in problems if problem["next_step"] == "fab setup"}
    assert any("there is no folder" in what for what in told)


def test_check_sees_a_repository_that_a_host_cannot_read(project: SmallProject) -> None:
    project.settle(app={"repository": "/nowhere/at/all.git"})
    try:
        problems = _wrong(project)
    finally:
        project.settle()

    assert all("cannot read the repository" in problem["what"] for problem in problems)
    assert [problem["host"] for problem in problems] == ["host1", "host2", "host3"]


def test_a_plan_changes_nothing_on_any_host(project: SmallProject) -> None:
    project.commit({"new.txt": "new"}, "Bring something new")
    project.fab("status")
    before = _everything_on(project)

    said = project.fab("plan", "--scripts")
    dry = project.fab("deploy", "--dry-run")

    assert (said.status, dry.status) == (0, 0), said.text
    assert _everything_on(project) == before
    assert "Bring something new" in dry.text
    assert "1 new" in dry.text and "nothing was changed" in dry.text


def test_what_to_type_next_names_the_environment_where_there_are_two(
    project: SmallProject,
) -> None:
    _settle_two_environments(project)
    try:
        planned = project.fab("plan", "--env", "sandbox")
        nothing = project.fab("rollout.abort", "--env", "sandbox")
        checked = project.fab("check", "--env", "sandbox")
    finally:
        project.settle()

    assert "nothing was changed; next:\n  fab deploy --env sandbox\n" in planned.text
    assert nothing.status == ExitStatus.USAGE
    assert nothing.text.rstrip().endswith("fab status --env sandbox")
    assert checked.status == ExitStatus.DONE, checked.text


def test_what_stands_in_brackets_names_it_too(project: SmallProject) -> None:
    _settle_two_environments(project, serve={"stop_timeout": "77s"})
    held = project.root("host2") / "rollout" / "held"
    held.parent.mkdir(exist_ok=True)
    try:
        project.fab("lock", "moving", "--env", "sandbox")
        held.write_text("{}")
        said = {
            command: project.fab(command, "--env", "sandbox").text
            for command in ("status", "diagnose", "plan")
        }
    finally:
        held.unlink(missing_ok=True)
        project.fab("unlock", "--env", "sandbox")
        project.settle()

    for command in ("fab unlock", "fab rollout.status"):
        assert f"({command} --env sandbox)" in said["status"]
    assert "fab setup --env sandbox corrects it)" in said["status"]
    assert "(fab unlock --env sandbox)" in said["diagnose"]
    assert "differs (fab setup --env sandbox):" in said["plan"]


def _settle_two_environments(project: SmallProject, **changes: Any) -> None:
    """Write a hosts.toml in which a command without --env means another environment."""
    hosts = project.up.environment_toml(app=APP, port=project.port)
    project.settle(
        hosts=f'{hosts}\n[environments.production.hosts.gpu1]\naddress = "gpu1.example"\n',
        app={"default_environment": "production"},
        **changes,
    )


def test_a_plan_shows_how_configuration_files_would_change(project: SmallProject) -> None:
    project.settle(serve={"stop_timeout": "77s"})
    try:
        said = project.fab("plan").text
        remark = project.fab("status").text
    finally:
        project.settle()

    assert "\n-stopwaitsecs=30\n+stopwaitsecs=77\n" in said
    assert "all 3 hosts: not as the settings want it" not in said
    assert "not as the settings want it" in remark and "fab setup" in remark


def test_the_scripts_of_a_plan_hide_secrets(project: SmallProject) -> None:
    project.settle(
        serve={"environment": {"TOKEN": "hunter2"}}, install={"environment": {"KEY": "hunter3"}}
    )
    try:
        said = project.fab("plan", "--scripts").text
    finally:
        project.settle()

    assert "hunter" not in said
    assert "'(secret)'" in said
    assert said.count("##### in front of every script") == 1


def test_a_plan_of_a_commit_that_goes_back_says_what_is_lost(project: SmallProject) -> None:
    first = project.git("rev-list", "--max-parents=0", "main")

    [host, *_] = _json(project, "plan", "--revision", first)["hosts"]

    assert host["commits"] == []
    assert [line.partition(" ")[2] for line in host["leaving"]] == ["Say what is asked (Ada)"]


def test_a_plan_knows_whether_the_environment_is_there(project: SmallProject) -> None:
    project.commit({"requirements.txt": "# nothing\n"}, "Name the dependencies")
    project.settle(install={"requirements": ["requirements.txt"], "tool": "pip"})
    try:
        before = _json(project, "plan")["hosts"][0]
        assert project.fab("step.install", timeout=180).status == 0
        after = _json(project, "plan")["hosts"][0]
    finally:
        project.settle()

    assert (before["reused"], after["reused"]) == (False, True)
    assert (project.root() / "venvs" / after["environment"] / ".complete").exists()


@pytest.mark.parametrize("source", ["pull", "push"])
def test_a_plan_for_a_revision_that_is_not_there_says_which_are(
    project: SmallProject, source: str
) -> None:
    project.settle(app={"source": source})
    try:
        done = project.fab("plan", "--revision", "nosuch")
    finally:
        project.settle()

    assert done.status == 2
    assert "there is no branch, tag or commit nosuch" in done.text and "main" in done.text


def test_a_plan_works_when_the_controller_sends_the_commits(project: SmallProject) -> None:
    project.settle(app={"source": "push"})
    try:
        plan = _json(project, "plan")
    finally:
        project.settle()

    assert plan["revision"] == project.git("rev-parse", "main")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs", "--lines", "-1"], "--lines takes a whole number from 1 to 1000, not '-1'"),
        (["logs", "--lines", "many"], "not 'many'"),
        (["logs", "--grep", "("], "--grep takes a regular expression of Python, not '('"),
        (["logs", "--level", "bad", "--follow"], "--level takes one of debug, info, warning"),
        (["logs", "--since", "soon"], "--since takes a time, not 'soon'"),
        (["logs", "--since", "1h"], "have no times that say of which zone they are"),
        (["logs", "--slot", "third"], "--slot takes live or staged, not 'third'"),
        (["exec", " "], "there is no command to run"),
        (["history", "--limit", "0"], "--limit takes a whole number"),
        (["status", "--only", "host9"], "has no host 'host9'"),
        (["status", "--env", "nowhere"], "has no environment 'nowhere'"),
        (["plan", "--revision", "--upload-pack=x"], "is no revision"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_argument_is_told_and_nothing_else_happens(
    project: SmallProject, arguments: list[str], said: str
) -> None:
    done = project.fab(*arguments)

    assert done.status == 2
    assert said in done.text
    assert done.shows_no_traceback


# -- helpers ---------------------------------------------------------------------------------------


def _fab(project: SmallProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `fab`; standard output and standard error apart."""
    return subprocess.run(
        project.command(*arguments),
        cwd=project.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def _json(project: SmallProject, *arguments: str, expected: int = 0) -> Any:
    done = _fab(project, *arguments, "--json")
    assert done.returncode == expected, done.stderr
    return json.loads(done.stdout)


def _wrong(project: SmallProject) -> list[dict[str, str]]:
    """The problems that `fab check` finds."""
    done = _fab(project, "check", "--json")
    assert done.returncode == 3
    problems: list[dict[str, str]] = json.loads(done.stdout)["problems"]
    return problems


def _point(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


@contextmanager
def _started(project: SmallProject, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A `fab` that runs, in a process group of its own as on a terminal."""
    process = begun(project.folder, "-m", "fabric", *arguments)
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@contextmanager
def _deploy_by_somebody_else(project: SmallProject, host: str) -> Iterator[None]:
    """Hold the lock of a host as a session does."""
    with (project.root(host) / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(
            f"bob@desk (deploy) since {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())}\n"
        )
        lock.flush()
        yield


def _processes_of(project: SmallProject, command: str) -> list[str]:
    """The processes of the hosts whose command line begins so."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            surroundings = (process / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if words.startswith(command) and str(project.up.layout.folder) in surroundings:
            found.append(words)
    return found


def _everything_on(project: SmallProject) -> dict[str, tuple[int, int, int]]:
    """Every path below the application's folders, with what would show that it was touched."""
    return {
        str(path): (status.st_mtime_ns, status.st_size, status.st_ino)
        for host in ("host1", "host2", "host3")
        for path in [project.root(host), *project.root(host).rglob("*")]
        if path.name != "log"
        for status in [path.lstat()]
    }
