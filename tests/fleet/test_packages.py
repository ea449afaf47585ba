"""`fab setup` on hosts that lack what it may install: real packages of Debian, from a repository on
the hosts' network. What was on a host before is there afterwards, as it was."""

from __future__ import annotations

import json
import re
import shutil
import signal
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.fleet.project import Project, eventually, repositories
from tests.lab.deb_repository import SOURCES, DebRepository, lack
from tests.lab.hosts import Host, Lab, Sudo
from tests.scripts.running import Calls

pytestmark = [pytest.mark.fleet, pytest.mark.slow]

APP = "fresh"
PORT = 8700
METERED = Path(__file__).with_name("metered_app") / "serve.py"
PROMETHEUS = "/etc/prometheus/prometheus.yml"
MONITORING = """
[monitoring]
file_sd = "/etc/prometheus/file_sd/aideploy"
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "haproxy", "blackbox"]
install = true
[monitoring.prometheus]
url = "http://{monitor}:9090"
[monitoring.alertmanager]
url = "http://{monitor}:9093"
webhook = "http://{monitor}:9999/nobody"
"""


@pytest.fixture(scope="module")
def bare_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(2, binds=[repositories(tmp_path_factory.mktemp("repositories"))]) as lab:
        yield lab


@pytest.fixture
def repository(bare_lab: Lab) -> Iterator[DebRepository]:
    """What both hosts may install from; they have none of it."""
    with DebRepository(bare_lab.address) as repository:
        for host in bare_lab.hosts:
            lack(host)
            repository.offer(host)
        yield repository
    for host in bare_lab.hosts:
        host.exec(f"systemctl stop '{APP}*' 'stranger*'; rm -rf /etc/sudoers.d/*{APP}")
        # What was told to end may still write there.
        host.exec(f"rm -rf /srv/{APP} || (sleep 2; rm -rf /srv/{APP})")
        host.exec(f"rm -rf /etc/systemd/system/{APP}* /etc/systemd/system/*.wants/{APP}*")
        host.exec("rm -rf /etc/prometheus /etc/haproxy /etc/systemd/system/haproxy.service")
        host.exec("systemctl daemon-reload; systemctl reset-failed")


@pytest.fixture
def host(bare_lab: Lab, repository: DebRepository) -> Host:
    return bare_lab.hosts[0]


def project_of(lab: Lab, folder: Path, hosts: list[Host], **values: Any) -> Project:
    values = {"strategy": "blue_green", "serve": "bind = '0.0.0.0'"} | values
    return Project(lab, folder / APP, hosts=hosts, app=APP, port=PORT, **values)


def untouched(host: Host) -> bool:
    """Whether setup left nothing of its own on the host."""
    ours = f"ls -d /srv/{APP} /etc/systemd/system/{APP}* /etc/sudoers.d/*{APP}; which haproxy"
    return host.exec(ours, check=False).stdout == ""


def hold(host: Host, lock: str, seconds: int) -> None:
    """Let another program have a lock of apt's for so long, as apt itself takes it."""
    program = (
        f"import fcntl, time; lock = open('/var/lib/{lock}', 'w');"
        f" fcntl.lockf(lock, fcntl.LOCK_EX); time.sleep({seconds})"
    )
    unit = f"stranger-{lock.replace('/', '-')}"
    host.exec(f'systemd-run --quiet --unit={unit} python3 -c "{program}"')


def says(host: Host, command: str) -> str:
    return host.exec(command, check=False).stdout.strip()


def test_a_host_without_haproxy_gets_it_and_nothing_that_was_there_is_lost(
    bare_lab: Lab, host: Host, tmp_path: Path
) -> None:
    # Left by a HAProxy that somebody removed: it would take a port, if it were started.
    left = "frontend of-somebody\n  mode tcp\n  bind :8099\n"
    host.exec("mkdir -p /etc/haproxy; systemd-run --unit=stranger python3 -m http.server 80")
    host.path("/etc/haproxy/haproxy.cfg").write_text(left)
    project = project_of(bare_lab, tmp_path, [host])
    project.set_up()
    revision = project.deploy()
    assert project.served(host) == revision
    assert host.path("/etc/haproxy/haproxy.cfg").read_text() == left
    assert says(host, "systemctl is-active haproxy.service") == "inactive"
    assert says(host, "systemctl is-enabled haproxy.service") == "disabled"
    assert says(host, "journalctl --no-pager -o cat -u haproxy.service") in ("", "-- No entries --")
    assert says(host, "systemctl is-active stranger") == "active"
    assert "nothing to change" in project.fab("setup").output
    host.power_off()
    host.boot()
    assert eventually(lambda: project.served(host) == revision)
    assert says(host, "systemctl is-active haproxy.service") == "inactive"


def test_the_haproxy_that_somebody_built_goes_on(bare_lab: Lab, host: Host, tmp_path: Path) -> None:
    host.exec("apt-get update; apt-get -y install haproxy; systemctl disable --now haproxy")
    host.exec("mkdir -p /opt/own; cp /usr/sbin/haproxy /opt/own; dpkg --purge haproxy")
    host.path("/opt/own/own.cfg").write_text(
        "defaults\n  mode http\n  timeout client 5s\n  timeout server 5s\n  timeout connect 5s\n"
        "frontend own\n  bind :8098\n"
    )
    host.path("/etc/systemd/system/haproxy.service").write_text(
        "[Service]\nExecStart=/opt/own/haproxy -db -f /opt/own/own.cfg\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )
    host.exec("systemctl daemon-reload; systemctl enable --now haproxy")
    process = says(host, "systemctl show -p MainPID --value haproxy")
    project = project_of(bare_lab, tmp_path, [host])
    project.set_up()
    revision = project.deploy()
    assert project.served(host) == revision
    assert says(host, "systemctl show -p MainPID --value haproxy") == process
    assert says(host, "systemctl is-enabled haproxy") == "enabled"


def test_what_cannot_be_installed_is_said_and_nothing_is_changed(
    bare_lab: Lab, repository: DebRepository, host: Host, tmp_path: Path
) -> None:
    project = project_of(bare_lab, tmp_path, [host])

    def refused() -> str:
        finished = project.fab("setup", expected=ExitStatus.NOT_READY)
        assert untouched(host), finished.output
        assert 'strategy = "recreate" or "socket"' in finished.last_words
        assert says(host, "systemctl is-enabled haproxy") != "masked-runtime"
        return finished.last_words.splitlines()[0]

    host.grant(Sudo.NONE)
    assert "needs HAProxy, which is not installed" in refused()
    host.grant(Sudo.ALL)
    host.exec(f"systemd-run --unit=stranger python3 -m http.server {PORT}")
    taken = project.fab("setup", expected=ExitStatus.NOT_READY)
    assert f"port {PORT} is taken by python3" in taken.last_words
    assert untouched(host)
    host.exec("systemctl stop stranger")

    repository.without = {"haproxy"}
    assert "Unable to locate package haproxy" in refused()
    repository.without = {"liblua5.3-0"}
    assert "haproxy : Depends: liblua5.3-0 but it is not installable" in refused()
    repository.without = set()
    sources = host.path(SOURCES).read_text()
    repository.offer(host)
    host.path(SOURCES).write_text(sources.replace(str(repository.port), "9"))
    assert "Could not connect to" in refused()
    host.path(SOURCES).write_text(sources)
    host.fill_disk("/var/cache/apt/archives", 4096)
    try:
        assert "enough free space" in refused()
    finally:
        host.free_disk("/var/cache/apt/archives")
    host.path("/var/lib/dpkg/updates/0001").write_text("half a record\n")
    assert "dpkg was interrupted" in refused()
    host.path("/var/lib/dpkg/updates/0001").unlink()
    project.set_up()
    revision = project.deploy()
    assert project.served(host) == revision


def test_a_dpkg_at_work_is_waited_for_and_old_lists_are_renewed(
    bare_lab: Lab, repository: DebRepository, host: Host, tmp_path: Path
) -> None:
    host.exec("apt-get update")
    repository.pool = "renewed"
    hold(host, "dpkg/lock-frontend", 8)
    hold(host, "apt/lists/lock", 16)
    host.grant(Sudo.ALL)
    project = project_of(bare_lab, tmp_path, [host])
    output = project.fab("setup").output
    assert output.count("waiting for another apt or dpkg") == 2
    assert "asking the repositories" in output
    assert says(host, "haproxy -v").startswith("HAProxy version")


def test_a_dpkg_that_does_not_end_is_not_waited_for_without_end(host: Host) -> None:
    host.exec("apt-get update")
    hold(host, "dpkg/lock-frontend", 60)
    body = 'apt_patience=3; root_allowed=yes; install_package haproxy || echo "said: $why"'
    text = Calls("calls", libraries=("files", "packages"), body=body).text()
    host.path("/root/calls.sh").write_text(f"mark_token=0\n{text}\n")
    said = host.exec("bash /root/calls.sh").stdout
    assert re.search(r"said: Could not get lock .*held by process \d+ \(python3\)", said), said
    assert says(host, "which haproxy") == ""


@pytest.mark.parametrize("user", ["root", "deploy"])
def test_an_installation_that_was_begun_is_ended_in_order(
    bare_lab: Lab, host: Host, tmp_path: Path, user: str
) -> None:
    project = project_of(bare_lab, tmp_path, [host])
    settings = project.folder / "hosts.toml"
    settings.write_text(settings.read_text().replace('user = "deploy"', f'user = "{user}"'))
    host.grant(Sudo.ALL)
    host.path("/etc/apt/apt.conf.d/slow").write_text('DPkg::Pre-Invoke { "sleep 3"; };\n')
    command = project.start("setup")
    command.wait_for(r"setup +h1 +… asking the repositories")
    command.wait_for(r"setup +h1 +… installing haproxy")
    time.sleep(1.5)
    command.signal(signal.SIGINT)
    assert command.finish().status == ExitStatus.INTERRUPTED
    assert eventually(lambda: says(host, "pgrep -c -x apt-get") == "0")
    assert says(host, "dpkg-query -W -f='${db:Status-Status}' haproxy") == "installed"
    host.path("/etc/apt/apt.conf.d/slow").unlink()
    project.fab("setup")
    assert says(host, "dpkg --audit") == ""
    assert says(host, "systemctl is-enabled haproxy.service") == "disabled"
    assert says(host, "systemctl is-active haproxy.service") == "inactive"


def test_with_recreate_nothing_is_installed(bare_lab: Lab, host: Host, tmp_path: Path) -> None:
    project = project_of(bare_lab, tmp_path, [host], strategy="recreate")
    before = says(host, "dpkg-query -W")
    project.set_up()
    assert project.served(host) == "" and project.deploy() == project.served(host)
    assert says(host, "dpkg-query -W") == before


# -- a monitor host -------------------------------------------------------------------------------


@pytest.fixture
def watched(bare_lab: Lab, repository: DebRepository, tmp_path: Path) -> Project:
    """The app on h1, and h2 that shall watch it."""
    first, monitor = bare_lab.hosts
    more = MONITORING.format(monitor=monitor.address)
    roles = {"h2": ["monitor"]}
    project = project_of(bare_lab, tmp_path, [first, monitor], roles=roles, more=more)
    shutil.copy(METERED, project.source / "serve.py")
    return project


def prometheus(monitor: Host, path: str) -> Any:
    with urllib.request.urlopen(f"http://{monitor.address}:9090/api/v1/{path}", timeout=10) as said:
        return json.load(said)["data"]


def jobs_up(monitor: Host) -> set[str]:
    targets = prometheus(monitor, "targets")["activeTargets"]
    return {target["labels"]["job"] for target in targets if target["health"] == "up"}


def test_a_bare_monitor_host_watches_after_setup_and_push(watched: Project) -> None:
    first, monitor = watched.hosts
    for host in watched.hosts:
        host.grant(Sudo.ALL)
    installed = watched.fab("setup").output
    assert "stay up" not in installed
    watched.deploy()
    watched.fab("monitor.push")
    wanted = {"aideploy", "aideploy-node", "aideploy-haproxy", "aideploy-blackbox", "alertmanager"}
    assert eventually(lambda: wanted <= jobs_up(monitor), within=90), jobs_up(monitor)
    has = "ls /usr/bin | grep -c -x -e prometheus -e prometheus-alertmanager -e prometheus-blackbox"
    assert says(first, f"{has}-exporter") == "0", "they belong on the monitor host alone"
    assert "nothing to change" in watched.fab("setup").output
    monitor.power_off()
    monitor.boot()
    assert eventually(lambda: says(monitor, "systemctl is-active prometheus") == "active")


def test_what_watches_already_stays_as_it_is(watched: Project) -> None:
    first, monitor = watched.hosts
    foreign = "# Ada looks after this\nglobal:\n  scrape_interval: 77s\n"
    monitor.path(PROMETHEUS).parent.mkdir()
    monitor.path(PROMETHEUS).write_text(foreign)
    # An exporter that came in another way.
    first.exec("systemd-run --unit=stranger python3 -m http.server 9100")
    for host in watched.hosts:
        host.grant(Sudo.ALL)
    said = watched.fab("setup").output
    assert "prometheus-node-exporter is not installed: port 9100 is taken by python3" in said
    assert says(first, "systemctl is-active stranger") == "active"
    assert says(first, "which prometheus-node-exporter") == ""
    assert monitor.path(PROMETHEUS).read_text() == foreign
    watched.deploy()
    pushed = watched.fab("monitor.push", expected=ExitStatus.NOT_READY).output
    assert "rule_files:" in pushed
    assert monitor.path(PROMETHEUS).read_text() == foreign


def test_a_monitor_host_that_cannot_be_made_one_is_told_why(
    watched: Project, repository: DebRepository
) -> None:
    monitor = watched.hosts[1]
    watched.hosts[0].grant(Sudo.ALL)
    monitor.grant(Sudo.NONE)
    said = watched.fab("setup", expected=ExitStatus.NOT_READY).last_words
    assert "prometheus-node-exporter is not installed, and deploy may not act as root" in said
    monitor.grant(Sudo.ALL)
    repository.without = {"prometheus-alertmanager"}
    said = watched.fab("setup", expected=ExitStatus.NOT_READY).last_words
    assert "Unable to locate package prometheus-alertmanager" in said
    repository.without = set()
    broken = "global: [this is none\n"
    monitor.path(PROMETHEUS).write_text(broken)
    monitor.exec("systemctl stop prometheus", check=False)
    said = watched.fab("setup").output
    assert "prometheus.service does not stay up" in said
    assert monitor.path(PROMETHEUS).read_text() == broken


# -- supervisor -----------------------------------------------------------------------------------


def test_a_host_with_debians_supervisor_is_told_what_to_do_until_it_serves(
    bare_lab: Lab, host: Host, tmp_path: Path
) -> None:
    serve = "manager = 'supervisor'\nbind = '0.0.0.0'"
    project = project_of(bare_lab, tmp_path, [host], strategy="recreate", serve=serve)
    host.grant(Sudo.ALL)
    said = project.fab("setup", expected=ExitStatus.NOT_READY).last_words
    assert "there is no supervisorctl" in said and "apt-get install supervisor" in said
    assert untouched(host)
    host.exec("apt-get update; apt-get -y install supervisor")
    said = project.fab("setup", expected=ExitStatus.NOT_READY).last_words
    assert untouched(host), said
    assert "chown" in said
    host.exec(
        "sed -i 's/^chmod=0700.*/chmod=0770\\nchown=root:deploy/' /etc/supervisor/supervisord.conf"
    )
    host.exec("systemctl restart supervisor")
    project.set_up()
    revision = project.deploy()
    assert project.served(host) == revision
    assert says(host, "ps -o user= -C python3 | sort -u | grep -v root") == "deploy"
