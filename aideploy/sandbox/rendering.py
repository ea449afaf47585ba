"""The files of a sandbox that are made from `templates/sandbox/`, as text.

Called by `lifecycle` for what lies on the hosts, and by the tasks and the demo for the tables of
hosts.toml that make a sandbox deployable. It writes nothing.
"""

from __future__ import annotations

import getpass
from pathlib import Path

from aideploy.rendering import render
from aideploy.sandbox.layout import Host, Layout


def supervisord_conf(layout: Layout, host: Host, sockets: Path) -> str:
    """The configuration of one host's supervisord.

    Args:
        sockets: the folder for its control socket; short, because the path of a Unix socket has
            at most 107 bytes.
    """
    return render(
        "sandbox/supervisord.conf.j2",
        {
            "home": layout.home(host),
            "socket": sockets / f"{host.name}.sock",
            "user": getpass.getuser(),
        },
    )


def ssh_config(layout: Layout, hosts: tuple[Host, ...]) -> str:
    """For `ssh -F`: the hosts by their names."""
    return render(
        "sandbox/ssh_config.j2",
        {"layout": layout, "hosts": hosts, "user": getpass.getuser()},
    )


def environment_toml(layout: Layout, hosts: tuple[Host, ...], *, app: str, port: int) -> str:
    """The tables `[environments.sandbox.*]`, to be added to the hosts.toml of any app.

    Args:
        app: the name of the app; it is deployed to a folder of that name in each host's home.
        port: the port that the service listens on, on each host's own address.
    """
    return render(
        "sandbox/environment.toml.j2",
        {"layout": layout, "hosts": hosts, "app": app, "port": port, "user": getpass.getuser()},
    )


def hosts_toml(
    layout: Layout, hosts: tuple[Host, ...], *, app: str, port: int, repository: Path
) -> str:
    """A whole hosts.toml for the example app on these hosts.

    Args:
        app, port: as for `environment_toml`.
        repository: the app's git repository on this machine.
    """
    return render(
        "sandbox/hosts.toml.j2",
        {
            "layout": layout,
            "hosts": hosts,
            "app": app,
            "port": port,
            "repository": repository,
            "user": getpass.getuser(),
        },
    )
