"""`setup` on real hosts: it makes a bare host ready, changes nothing when run again, and says what
it may not do before it does anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from aideploy.errors import AideployError
from tests.fleet.served import Served
from tests.lab.hosts import Host, Lab, Sudo

pytestmark = pytest.mark.fleet


def refused(match: str) -> pytest.RaisesExc[AideployError]:
    return pytest.raises(AideployError, match=re.escape(match))


@pytest.fixture
def host(lab3: Lab) -> Iterator[Host]:
    host = lab3.hosts[0]
    yield host
    host.grant(Sudo.ALL)


def test_a_bare_host_becomes_ready_and_a_second_run_changes_nothing(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="bare", serve="linked = ['data/', '.env']") as app:
        first = app.set_up()
        assert "/etc/systemd/system/bare@.service" in first.changed
        assert "user bare" in first.changed
        assert "missing" in first.notices[0] and "/srv/bare/shared/.env" in first.notices[0]
        made = "/srv/bare /srv/bare/releases /srv/bare/shared/data /etc/sudoers.d/aideploy-bare"
        assert host.exec(f"stat -c '%U:%G %a' {made}").stdout.splitlines() == [
            "deploy:deploy 755",
            "deploy:bare 2755",
            "deploy:bare 2770",
            "root:root 440",
        ]
        assert "nologin" in host.exec("getent passwd bare").stdout
        assert host.exec("systemctl is-enabled bare@live.service").stdout == "enabled\n"
        assert app.set_up().changed == ()


def test_what_setup_left_is_found_whole_after_the_rights_are_withdrawn(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="withdrawn") as app:
        app.set_up()
        host.grant(Sudo.NONE)
        assert app.set_up().changed == ()
        host.exec("rm /etc/systemd/system/withdrawn@.service")
        with refused("may not act as root"):
            app.set_up()


def test_without_sudo_nothing_is_changed_and_the_error_says_what_to_do(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    host.grant(Sudo.NONE)
    powerless = Served(lab3, host, tmp_path, app="powerless")
    with powerless as app, refused("may not act as root") as caught:
        app.set_up()
    assert caught.value.what == "deploy may not act as root here: sudo -n says no"
    assert "run fab setup as root" in caught.value.next_step
    left = "ls -d /srv/powerless /etc/*/*/*powerless* || getent passwd powerless"
    assert host.exec(left, check=False).stdout == ""


def test_root_needs_no_sudo_rights_and_gets_no_sudoers_file(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    host.grant(Sudo.NONE)
    with Served(lab3, host, tmp_path, app="rooted", user="root") as app:
        app.set_up()
        assert app.set_up().changed == ()
        assert not host.path("/etc/sudoers.d/aideploy-rooted").exists()
        app.start("1")
        assert app.ask().environment["RELEASE"] == "1"
        app.call("service_stop live")


def test_a_folder_of_somebody_else_is_not_taken_over(lab3: Lab, host: Host, tmp_path: Path) -> None:
    host.exec("install -d -o stranger /srv/foreign")
    with Served(lab3, host, tmp_path, app="foreign") as app, refused("belongs to stranger"):
        app.set_up()
    assert host.exec("ls -A /srv/foreign").stdout == ""


def test_a_template_that_systemd_refuses_does_not_replace_the_old_unit(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="careful") as app:
        app.set_up()
        unit = host.path("/etc/systemd/system/careful@.service")
        before = unit.read_text()
        own = tmp_path / "templates" / "systemd" / "service.j2"
        own.parent.mkdir(parents=True)
        own.write_text("[Service]\nExecStart=/bin/true\nRestrat=always\n")
        with refused("Restrat"):
            app.set_up()
        assert unit.read_text() == before


def test_a_full_disk_leaves_the_old_file(lab3: Lab, host: Host, tmp_path: Path) -> None:
    with Served(lab3, host, tmp_path, app="full") as app:
        app.set_up()
        host.exec("cp -a /etc/systemd/system /root/units")
        host.fill_disk("/etc/systemd/system", 64 * 1024)
        try:
            host.exec("cp -a /root/units/full@.service /root/units/*.wants /etc/systemd/system")
            host.exec("dd if=/dev/zero of=/etc/systemd/system/filler bs=1k", check=False)
            before = host.exec("cat /etc/systemd/system/full@.service").stdout
            app.configure("stop_timeout = '77s'")
            with refused("cannot write /etc/systemd/system/full@.service"):
                app.set_up()
            assert host.exec("cat /etc/systemd/system/full@.service").stdout == before
            assert ".new." not in host.exec("ls /etc/systemd/system").stdout
        finally:
            host.free_disk("/etc/systemd/system")


def test_the_deploy_user_may_say_exactly_what_the_service_needs(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    with Served(lab3, host, tmp_path, app="narrow") as app:
        app.set_up()
    host.grant(Sudo.NONE)
    allowed = [
        "systemctl restart narrow@live.service",
        "systemctl stop narrow@staged.service",
        "journalctl --no-pager -o short-iso -n 1000 -u narrow@live.service",
    ]
    refused = [
        "systemctl restart ssh.service",
        "systemctl restart narrow@other.service",
        "systemctl restart narrow@live.service ssh.service",
        "systemctl status narrow@live.service",
        "systemctl edit narrow@live.service",
        "systemctl daemon-reload",
        "systemctl --root=/tmp start narrow@live.service",
        "journalctl -u narrow@live.service",
        "journalctl --no-pager -o short-iso -n 1000 -u ssh.service",
        "journalctl --no-pager -o short-iso -n 1000 -u narrow@live.service --file=/etc/shadow",
        "bash",
    ]
    for command in allowed:
        host.exec(f"runuser -u deploy -- sudo -n -l {command}")
    for command in refused:
        ran = host.exec(f"runuser -u deploy -- sudo -n -l {command}", check=False)
        assert ran.returncode != 0, f"{command} is allowed"


def test_a_user_scope_service_needs_no_root_at_all_once_it_may_linger(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    host.grant(Sudo.NONE)
    host.exec("loginctl enable-linger deploy")
    serve, top = "manager = 'systemd-user'\nport = 8020", "deploy_to = '/home/deploy/homely'"
    with Served(lab3, host, tmp_path, app="homely", serve=serve, top=top) as app:
        app.set_up()
        assert app.set_up().changed == ()
        assert app.state() == "inactive"
        app.start("1", TOKEN="tölpel $HOME `id` \"'\\ %n")
        said = app.ask(8020)
        assert said.environment["TOKEN"] == "tölpel $HOME `id` \"'\\ %n"
        assert app.state() == "active"
        assert app.call("service_pid live").tail == (str(said.pid),)
        assert "Started" in "\n".join(app.call("service_log live 50").tail)
        app.call("service_stop live")
        assert app.state() == "inactive"


def test_without_lingering_the_error_says_who_has_to_allow_it(
    lab3: Lab, host: Host, tmp_path: Path
) -> None:
    host.grant(Sudo.NONE)
    host.exec("loginctl disable-linger stranger", check=False)
    serve, top = "manager = 'systemd-user'", "deploy_to = '/home/stranger/shy'"
    shy = Served(lab3, host, tmp_path, app="shy", user="stranger", serve=serve, top=top)
    with shy as app, refused("without a login") as caught:
        app.set_up()
    assert caught.value.next_step == "as root on that host: loginctl enable-linger stranger"
