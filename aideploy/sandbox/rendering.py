"""The files of a sandbox that are made from `templates/sandbox/`, as text.

Called by `lifecycle` for what lies on the hosts, and by the tasks and the demo for the tables of
hosts.toml that make a sandbox deployable. It writes nothing.
"""

from __future__ import annotations

import getpass
import json
from pathlib import Path

import jinja2

import aideploy
from aideploy.sandbox.layout import Host, Layout


def supervisord_conf(layout: Layout, host: Host, sockets: Path) -> str:
    """The configuration of one host's supervisord.

    Args:
        sockets: the folder for its control socket; short, because the path of a Unix socket has
            at most 107 bytes.
    """
    return _render(
        "supervisord.conf.j2",
        home=layout.home(host),
        socket=sockets / f"{host.name}.sock",
        user=getpass.getuser(),
    )


def ssh_config(layout: Layout, hosts: tuple[Host, ...]) -> str:
    """For `ssh -F`: the hosts by their names."""
    return _render("ssh_config.j2", layout=layout, hosts=hosts, user=getpass.getuser())


def environment_toml(layout: Layout, hosts: tuple[Host, ...], *, app: str, port: int) -> str:
    """The tables `[environments.sandbox.*]`, to be added to the hosts.toml of any app.

    Args:
        app: the name of the app; it is deployed to a folder of that name in each host's home.
        port: the port that the service listens on, on each host's own address.
    """
    return _render(
        "environment.toml.j2",
        layout=layout,
        hosts=hosts,
        app=app,
        port=port,
        user=getpass.getuser(),
    )


def hosts_toml(
    layout: Layout, hosts: tuple[Host, ...], *, app: str, port: int, repository: Path
) -> str:
    """A whole hosts.toml for the example app on these hosts.

    Args:
        app, port: as for `environment_toml`.
        repository: the app's git repository on this machine.
    """
    return _render(
        "hosts.toml.j2",
        layout=layout,
        hosts=hosts,
        app=app,
        port=port,
        repository=repository,
        user=getpass.getuser(),
    )


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates() / "sandbox"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - none of these files is HTML
    )
    environment.filters["toml"] = _toml_string
    environment.filters["ssh"] = _ssh_word
    environment.filters["supervisor"] = _supervisor_value
    return environment.get_template(template).render(**values)


def _templates() -> Path:
    """templates/ inside an installed package, or at the top of a checkout."""
    package = Path(aideploy.__file__).parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def _toml_string(value: object) -> str:
    return json.dumps(str(value), ensure_ascii=False)


def _ssh_word(value: object) -> str:
    """One argument of ssh_config(5), in which % begins a token."""
    return '"' + str(value).replace("%", "%%") + '"'


def _supervisor_value(value: object) -> str:
    """A value of supervisord.conf, in which % begins an expansion."""
    return str(value).replace("%", "%%")
