"""The dashboard of the fleet: which release runs where, since when, and how are the hosts?

What hosts say of themselves comes from the textfile metrics of aideploy, and node_exporter's own.
"""

from __future__ import annotations

from aideploy.monitoring.dashboards.board import CHOSEN, EVERY_HOST, OF_HOSTS, Board, Row
from aideploy.monitoring.dashboards.panels import Bounds, Line, Panel, graph, listing, number
from aideploy.settings.monitoring import Exporter, Monitoring

# What is in memory, or is mounted for a moment, fills by itself.
_DISKS = 'fstype!~"tmpfs|ramfs|overlay|squashfs|devtmpfs|fuse.*"'


def releases(monitoring: Monitoring) -> Board:
    """Return the dashboard; `monitoring` says whether node_exporter tells of the hosts."""
    rows = [Row("Releases", _now()), Row("Over time", _over_time())]
    if Exporter.NODE in monitoring.exporters:
        rows.append(Row("Hosts", _hosts()))
    return Board(
        kind="releases",
        title="Fleet and releases",
        says="Which release runs where, since when, and are the hosts well?",
        choices=(EVERY_HOST,),
        since="now-24h",
        rows=rows,
    )


def _now() -> tuple[Panel, ...]:
    return (
        number(
            "Releases live",
            Line(f"count(count by (release) (aideploy_release_info{{{CHOSEN}}}))"),
            says="More than one outside a rollout: hosts missed a deploy. fab status names them.",
            bounds=Bounds(2, 3),
        ),
        number(
            "Hosts that tell",
            Line(f"count(count by (host) (aideploy_release_info{{{CHOSEN}}}))"),
            says="Hosts whose textfile metrics Prometheus has.",
        ),
        number(
            "Live since",
            Line(f"time() - max(aideploy_release_timestamp_seconds{{{CHOSEN}}})"),
            unit="s",
            says="The time since the last switch.",
        ),
        number(
            "Last good deploy",
            Line(f"time() - max(aideploy_deploy_last_success_timestamp_seconds{{{CHOSEN}}})"),
            unit="s",
            says="The time since a deploy succeeded.",
        ),
        number(
            "Good here",
            Line(f"sum(aideploy_deploy_last_status{{{CHOSEN}}})"),
            says="Hosts where the last release that went live was good. Fewer than there are "
            "hosts: fab history.",
        ),
        number(
            "Files not read",
            Line(f"sum(node_textfile_scrape_error{{{OF_HOSTS}}})"),
            says="Hosts where node_exporter cannot read a textfile: what they tell is missing.",
            bounds=Bounds(1, 1),
        ),
        listing(
            "What runs where",
            Line(f"max by (host, release, revision, model) (aideploy_release_info{{{CHOSEN}}})"),
            says="The release, commit and model of each host.",
        ),
    )


def _over_time() -> tuple[Panel, ...]:
    return (
        graph(
            "Hosts on each release",
            Line(f"count by (release) (aideploy_release_info{{{CHOSEN}}})", "{{release}}"),
            says="A rollout is where two lines cross.",
        ),
        graph(
            "Since it went back",
            Line(
                f"time() - max by (host) (aideploy_last_revert_timestamp_seconds{{{CHOSEN}}})",
                "{{host}}",
            ),
            unit="s",
            says="Since each host returned to an earlier release; a drop to 0 is such a return.",
        ),
        graph(
            "How old each host's textfile is",
            Line(
                "max by (host) (time() - node_textfile_mtime_seconds"
                f'{{{OF_HOSTS},file=~".*/aideploy-.*"}})',
                "{{host}}",
            ),
            unit="s",
            says="Written by every deploy, rollback and training.",
        ),
    )


def _hosts() -> tuple[Panel, ...]:
    free = f"node_filesystem_avail_bytes{{{OF_HOSTS},{_DISKS}}}"
    size = f"node_filesystem_size_bytes{{{OF_HOSTS},{_DISKS}}}"
    return (
        graph(
            "CPU busy",
            Line(
                f'1 - avg by (host) (rate(node_cpu_seconds_total{{{OF_HOSTS},mode="idle"}}'
                "[$__rate_interval]))",
                "{{host}}",
            ),
            unit="percentunit",
        ),
        graph(
            "Memory used",
            Line(
                f"max by (host) (1 - node_memory_MemAvailable_bytes{{{OF_HOSTS}}}"
                f" / node_memory_MemTotal_bytes{{{OF_HOSTS}}})",
                "{{host}}",
            ),
            unit="percentunit",
            limit=0.95,
        ),
        graph(
            "Disk used",
            Line(f"max by (host) (1 - {free} / {size})", "{{host}}"),
            unit="percentunit",
            says="Of the fullest disk. Models and environments of old releases go with "
            "fab step.finish.",
            limit=0.9,
        ),
        graph(
            "Load", Line(f"max by (host) (node_load1{{{OF_HOSTS}}})", "{{host}}"), says="1 minute."
        ),
        graph(
            "Network in",
            Line(
                "sum by (host) (rate(node_network_receive_bytes_total"
                f'{{{OF_HOSTS},device!="lo"}}[$__rate_interval]))',
                "{{host}}",
            ),
            unit="Bps",
        ),
        graph(
            "Killed for want of memory",
            Line(
                f"max by (host) (increase(node_vmstat_oom_kill{{{OF_HOSTS}}}[$__rate_interval]))",
                "{{host}}",
            ),
            says="Processes that the kernel ended. fab diagnose says which.",
        ),
    )
