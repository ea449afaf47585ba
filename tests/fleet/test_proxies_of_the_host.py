"""A host has an HAProxy and an nginx of its own: they are left alone, and may stand in front."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually, repositories
from tests.fleet.traffic import Users
from tests.lab.hosts import Host, Lab, Sudo

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

PORT = 8845
# As its administrator wrote it, long before.
HAPROXY = f"""global
    daemon
    stats socket /run/haproxy/admin.sock mode 660 level admin
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend everybody
    bind :80
    default_backend ours
backend ours
    server ours 127.0.0.1:{PORT}
"""
NGINX = f"""server {{
    listen 81;
    location / {{ proxy_pass http://127.0.0.1:{PORT}; }}
}}
"""
UNITS = "haproxy nginx"


@pytest.fixture
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The small app on one host, which is not set up."""
    folder = repositories(tmp_path_factory.mktemp("repositories"))
    with Lab(1, binds=[folder], packages=["nginx-light"]) as lab:
        yield Project(
            lab,
            tmp_path_factory.mktemp("behind"),
            app="behind",
            port=PORT,
            strategy="blue_green",
        )


def put_in_front(host: Host) -> None:
    host.path("/etc/haproxy/haproxy.cfg").write_text(HAPROXY)
    host.path("/etc/nginx/conf.d/ours.conf").write_text(NGINX)
    # The package's own page, on port 80.
    host.path("/etc/nginx/sites-enabled/default").unlink()
    host.exec(f"systemctl unmask {UNITS}; systemctl enable {UNITS}; systemctl restart {UNITS}")


def seen(host: Host) -> str:
    """All that is theirs: their files, their processes, their units, when those last changed."""
    properties = ["MainPID", "NRestarts", "UnitFileState", "ActiveEnterTimestampMonotonic"]
    shown = " ".join(f"--property={one}" for one in properties)
    return host.exec(
        "find /etc/haproxy /etc/nginx /etc/default/haproxy -type f -exec sha256sum {} +;"
        "sha256sum /usr/lib/systemd/system/{haproxy,nginx}.service;"
        # A reload would have other workers. Those of the app run as another user.
        "pgrep -a -u haproxy,www-data,root -x 'haproxy|nginx' | sort;"
        f"systemctl show {shown} {UNITS}; systemctl is-active {UNITS}"
    ).stdout


def test_setup_and_deploys_leave_them_alone_and_no_request_that_comes_through_them_is_lost(
    project: Project,
) -> None:
    (host,) = project.hosts
    put_in_front(host)
    before = seen(host)
    assert "nginx: worker" in before
    assert "/usr/sbin/haproxy -Ws" in before

    project.set_up()
    assert seen(host) == before
    first = project.deploy()
    through = {"haproxy": (host.address, 80), "nginx": (host.address, 81)}
    with Users(through) as users:
        project.configure(rollout="weights = ['25%']", bake="3s")
        second = project.deploy()
        project.fab("rollback")
        assert eventually(lambda: project.served(host) == first)
    assert users.failed == []
    assert set(users.by_revision()) == {first, second}
    assert {one.host for one in users.answers} == {"haproxy", "nginx"}
    assert "nothing to change" in project.fab("setup").last_words
    assert seen(host) == before


def test_an_address_that_one_of_them_has_is_refused_before_anything_is_changed(
    project: Project,
) -> None:
    (host,) = project.hosts
    put_in_front(host)
    before = seen(host)
    host.grant(Sudo.ALL)
    for port, name in (("80", "haproxy"), ("81", "nginx")):
        project.configure(port=port, serve="slot_ports = [18845, 18846]")
        said = project.fab("setup", expected=ExitStatus.NOT_READY)
        assert re.search(rf"port {port} is taken by {name} \(process \d+\)", said.last_words)
        left = host.exec("ls -d /srv/behind /etc/systemd/system/behind*", check=False).stdout
        assert left == ""
    assert seen(host) == before
