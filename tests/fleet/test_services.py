"""The service under real systemd: sandboxed, steered with the smallest rights, never lost."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from aideploy.remote.result import ScriptFailed
from tests.fleet.served import REVISION, Served
from tests.lab.hosts import Bind, Host, Lab, Sudo
from tests.lab.wheels import wheelhouse

pytestmark = pytest.mark.fleet

LARGEST_EXPOSURE = 2.5
EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = PurePosixPath("/opt/example")
WHEELS = PurePosixPath("/opt/wheels")
# The next test wants the ports. Only what setup installs lies here as a plain file.
STOP_ALL_OF_OURS = """
cd /etc/systemd/system
find . -maxdepth 1 -type f -name '*.socket' -printf '%f\\n' | xargs -r systemctl stop
systemctl stop '*@live.service' '*@staged.service'
"""


@pytest.fixture
def host(lab3: Lab) -> Iterator[Host]:
    host = lab3.hosts[1]
    yield host
    host.grant(Sudo.ALL)
    host.exec(STOP_ALL_OF_OURS)


def only_its_own_rights(host: Host) -> None:
    """From here on the deploy user has no more rights than setup gave."""
    host.grant(Sudo.NONE)


def exposure(host: Host, unit: str) -> float:
    said = host.exec(f"systemd-analyze security --no-pager {unit}").stdout
    found = re.search(r"Overall exposure level for .*: ([0-9.]+)", said)
    assert found is not None, said
    return float(found[1])


def test_live_and_staged_run_beside_each_other_each_with_its_own_release_and_port(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="pair") as app:
        app.set_up()
        only_its_own_rights(host)
        assert (app.state("live"), app.state("staged")) == ("inactive", "inactive")
        app.put("1")
        app.put("2", slot="staged")
        app.call("service_start live; service_start staged")
        live, staged = app.ask(8000), app.ask(18000)
        assert (live.environment["RELEASE"], live.environment["SLOT"]) == ("1", "live")
        assert (staged.environment["RELEASE"], staged.environment["SLOT"]) == ("2", "staged")
        assert app.call("service_pid live").tail == (str(live.pid),)
        assert "pair-live" in app.call("service_log live 3").tail[-1]
        app.call("service_stop staged")
        assert (app.state("live"), app.state("staged")) == ("active", "inactive")


def test_going_back_brings_the_old_command_and_environment_with_the_old_release(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="back") as app:
        app.set_up()
        only_its_own_rights(host)
        app.start("1", TOKEN="old")
        app.put("2", command="MODE=new exec /usr/bin/python3 little_service.py", TOKEN="new")
        app.call("service_restart live")
        assert app.ask().environment.items() >= {"TOKEN": "new", "MODE": "new"}.items()
        app.call('replace_link releases/1 "$root/current"; service_restart live')
        back = app.ask().environment
        assert back["TOKEN"] == "old" and "MODE" not in back


def test_the_service_is_confined_and_gets_every_character_of_its_secrets(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    secret = "".join(map(chr, range(1, 127))) + "äß€😀 \\\n\\\\$(id)`id`%n%%"
    with Served(lab3, host, tmp_path, app="confined", serve="linked = ['data/']") as app:
        app.set_up()
        app.start("1", SECRET=secret)
        said = app.ask()
        assert said.environment["SECRET"] == secret
        assert said.folder == "/srv/confined/releases/1"
        assert said.uid == int(host.exec("id -u confined").stdout)
        assert said.writes == {"data": True, "release": False, "home": True, "tmp": True}
        assert said.reads == {"own environment": True, "homes": False}
        arguments = host.exec("cat /proc/[0-9]*/cmdline", check=False).stdout
        assert "$(id)`id`" not in arguments
        theirs = "runuser -u stranger -- cat /srv/confined/releases/1/.aideploy/env"
        others = host.exec(theirs, check=False)
        assert others.returncode != 0
        assert exposure(host, "confined@live.service") <= LARGEST_EXPOSURE


@pytest.mark.parametrize(
    ("app_name", "serve", "top"),
    [
        ("gpus", "gpus = 1", ""),
        ("lowport", "port = 81", ""),
        ("inhome", "linked = ['data/']", "deploy_to = '/home/deploy/inhome'"),
        ("limited", "memory_max = '512M'\ncpu_quota = '150%'\nuser = 'someone'", ""),
    ],
)
def test_every_shape_of_the_unit_runs_and_is_confined(
    lab3: Lab, host: Host, tmp_path: Path, app_name: str, serve: str, top: str
) -> None:
    with Served(lab3, host, tmp_path, app=app_name, serve=serve, top=top) as app:
        app.set_up()
        assert app.set_up().changed == ()
        app.start("1")
        said = app.ask(81 if app_name == "lowport" else 8000)
        assert said.environment["RELEASE"] == "1"
        assert said.writes["release"] is False
        assert said.writes["data"] is (app_name == "inhome")
        assert exposure(host, f"{app_name}@live.service") <= LARGEST_EXPOSURE


def test_under_socket_no_request_is_lost_while_the_release_changes(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(
        lab3, host, tmp_path, app="held", serve="strategy = 'socket'\nbind = '0.0.0.0'"
    ) as app:
        app.set_up()
        only_its_own_rights(host)
        app.start("1")
        assert app.ask().activated
        answers: list[str] = []
        stop = threading.Event()

        def keep_asking() -> None:
            while not stop.is_set():
                url = f"http://{host.address}:8000/"
                ran = subprocess.run(
                    ["curl", "-sS", "-m", "10", url], capture_output=True, text=True
                )
                answers.append(ran.stdout or ran.stderr)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        app.put("2")
        app.call("service_restart live")
        app.put("3", slot="staged")
        app.call("service_start staged")
        time.sleep(0.5)
        stop.set()
        asking.join()
        assert not app.ask(18000).activated
        releases = [re.search(r'"RELEASE": "(\d)"', answer) for answer in answers]
        assert all(releases), answers
        assert {found[1] for found in releases if found} == {"1", "2"}


def test_changing_the_strategy_moves_the_address_to_the_socket_and_back(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="moved") as app:
        app.set_up()
        app.start("1")
        assert not app.ask().activated
        app.configure("strategy = 'socket'")
        assert "moved.socket opened" in app.set_up().changed
        assert app.set_up().changed == ()
        assert app.ask().activated
        app.configure("strategy = 'socket'\nport = 8001")
        app.set_up()
        assert app.ask(8001).activated
        app.configure("")
        assert "moved.socket removed" in app.set_up().changed
        assert app.set_up().changed == ()
        assert not app.ask(8000).activated
        assert not host.path("/etc/systemd/system/moved.socket").exists()


def test_a_socket_that_was_closed_by_hand_is_open_after_a_restart(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="closed", serve="strategy = 'socket'") as app:
        app.set_up()
        only_its_own_rights(host)
        app.start("1")
        host.exec("systemctl stop closed.socket")
        app.call("service_restart live")
        assert app.ask().activated
        app.call("service_stop live")
        assert host.exec("curl -sS -m 5 http://127.0.0.1:8000/", check=False).returncode == 7


def test_a_release_that_cannot_start_is_given_up_and_the_next_one_is_started_all_the_same(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="crash") as app:
        app.set_up()
        only_its_own_rights(host)
        app.start("1", command="/usr/bin/python3 little_service.py --crash")
        deadline = time.monotonic() + 30
        while (state := app.state()) != "failed":
            assert state in ("active", "activating") and time.monotonic() < deadline
            time.sleep(0.3)
        assert "this release cannot start" in "\n".join(app.call("service_log live 15").tail)
        app.put("2")
        app.call("service_restart live")
        assert app.ask().environment["RELEASE"] == "2"


def test_what_is_live_comes_back_with_the_host_and_an_empty_host_boots_without_failure(
    lab3: Lab, tmp_path: Path
) -> None:
    with Lab(1, sudo=Sudo.ALL) as lab:
        host = lab.hosts[0]
        with Served(lab, host, tmp_path, app="boots", serve="strategy = 'socket'") as app:
            app.set_up()
        host.stop()
        host.boot()
        with Served(lab, host, tmp_path, app="boots", serve="strategy = 'socket'") as app:
            assert app.state() == "inactive"
            app.put("1")
            app.put("2", slot="staged")
            app.call("service_start live")
        host.power_off()
        host.boot()
        with Served(lab, host, tmp_path, app="boots", serve="strategy = 'socket'") as app:
            assert app.ask().activated
            assert app.state("staged") == "inactive"


def test_following_the_log_shows_what_comes_and_leaves_nothing_behind_when_stopped(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="follow") as app:
        app.set_up()
        only_its_own_rights(host)
        app.start("1")
        stop = threading.Timer(2, app.session.cancel)
        stop.start()
        with pytest.raises(ScriptFailed) as caught:
            app.ask()
            app.call("service_follow live")
        assert "GET / HTTP" in "\n".join(caught.value.tail)
        assert (
            host.exec("cat /proc/[0-9]*/comm 2>/dev/null | grep -x journalctl", check=False).stdout
            == ""
        )


def test_a_host_that_was_not_set_up_says_so(lab3: Lab, host: Host, tmp_path: Path) -> None:
    with Served(lab3, host, tmp_path, app="early") as app:
        assert app.state() == "missing"
        app.call("install -D /dev/null /tmp/early/slots/live/release/.aideploy/serve")
        with pytest.raises(ScriptFailed) as caught:
            app.call("root=/tmp/early; service_start live")
        assert (caught.value.code, caught.value.next_step) == ("not-set-up", "fab setup")
        with pytest.raises(ScriptFailed) as caught:
            app.call("root=/tmp/nothing; service_start live")
        assert caught.value.code == "no-release"


def test_without_the_sudoers_file_the_error_is_about_rights(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="unrighted") as app:
        app.set_up()
        app.put("1")
        only_its_own_rights(host)
        host.exec("rm /etc/sudoers.d/aideploy-unrighted")
        with pytest.raises(ScriptFailed) as caught:
            app.call("service_start live")
        assert (caught.value.code, caught.value.next_step) == ("no-sudo", "fab setup")


@pytest.mark.slow
def test_the_example_app_really_works_inside_the_sandbox(tmp_path: Path) -> None:
    example = EXAMPLES / "ranker"
    wheels = wheelhouse(example / "requirements.txt")
    binds = [Bind(wheels, WHEELS), Bind(example, EXAMPLE)]
    with Lab(1, sudo=Sudo.ALL, binds=binds) as lab:
        host = lab.hosts[0]
        with Served(lab, host, tmp_path, app="ranker", serve="strategy = 'socket'") as app:
            app.set_up()
            only_its_own_rights(host)
            command = 'gunicorn app:app --bind "$BIND:$PORT" --workers 2 --threads 4'
            app.put("1", command=command, MODEL_DIR="/srv/ranker/releases/1/model")
            app.call(
                f"""
                cd "$root/releases/1"
                cp -r {EXAMPLE}/. .
                python3 -m venv .venv
                .venv/bin/pip install -q --no-index --find-links {WHEELS} -r requirements.txt
                RANKER_ROWS=20000 .venv/bin/python train.py
                service_start live
                """
            )
            said = host.exec("curl -sS -m 20 http://127.0.0.1:8000/healthz").stdout
            assert json.loads(said)["revision"] == REVISION
            assert "model_info" in host.exec("curl -sS -m 20 http://127.0.0.1:8000/metrics").stdout
            app.call("service_restart live")
            assert (
                "200"
                in host.exec(
                    "curl -sS -m 20 -o /dev/null -w '%{http_code}' http://127.0.0.1:8000/healthz"
                ).stdout
            )
            assert exposure(host, "ranker@live.service") <= LARGEST_EXPOSURE
            log = "\n".join(app.call("service_log live 20").tail)
            assert "Operation not permitted" not in log
