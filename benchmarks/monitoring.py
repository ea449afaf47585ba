"""The configuration of a Prometheus that watches 1,000 hosts: `fab monitor.render`, Python's start
included, and promtool on what it wrote. Called by `__main__`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import Row, Table, mark

HOSTS = 1000
PROMISED_SECONDS = 2.0
SETTINGS = """
[app]
name = "ranker"
repository = "/unused"
[serve]
command = "serve"
bind = "0.0.0.0"
[monitoring]
file_sd = "{folder}/etc/prometheus/file_sd/aideploy"
textfile = "/var/lib/prometheus/node-exporter"
exporters = ["node", "nvidia", "haproxy", "blackbox"]
[monitoring.prometheus]
url = "http://mon:9090"
directory = "{folder}/etc/prometheus"
[environments.production.hosts.mon]
address = "mon"
roles = ["monitor"]
"""
HOST = '[environments.production.hosts.h{n}]\naddress = "h{n}.example.com"\nroles = ["serve"]\n'


def measure(folder: Path, rounds: int) -> Table:
    """Render and validate it, so many times."""
    hosts = "".join(HOST.format(n=number) for number in range(HOSTS))
    (folder / "hosts.toml").write_text(SETTINGS.format(folder=folder) + hosts)
    (folder / "fabfile.py").write_text("from aideploy import namespace\n\nns = namespace()\n")
    fab = str(Path(sys.executable).with_name("fab"))
    # The paths in it are of the folder that it is written to.
    render = [fab, "monitor.render", "--to", "/"]
    main = f"{folder}/etc/prometheus/prometheus.yml"
    rendered, checked = [], []
    for _ in range(rounds):
        rendered.append(_timed(render, folder))
        checked.append(_timed(["promtool", "check", "config", main], folder))
    both = [sum(pair) for pair in zip(rendered, checked, strict=True)]
    kept = statistics.median(both) <= PROMISED_SECONDS
    promise = f"≤ {PROMISED_SECONDS:g} s"
    return Table(
        f"monitoring, {HOSTS} hosts",
        (
            Row("fab monitor.render", tuple(rendered)),
            Row("promtool check config", tuple(checked)),
            Row("both", tuple(both), promise=promise, mark=mark(kept)),
        ),
    )


def _timed(command: list[str], folder: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began
