"""What has to fit between keys, tables and hosts, beyond what each table checks by itself.

`loading` calls `mismatches` for each environment, after the tables have been read. A table that was
refused is None here and the checks that need it say nothing: its own mistakes come first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from aideploy.events import Phase
from aideploy.settings.analysis import Analysis
from aideploy.settings.app import App
from aideploy.settings.drift import Drift
from aideploy.settings.gate import Gate
from aideploy.settings.golden import Golden
from aideploy.settings.health import Health
from aideploy.settings.hooks import Hooks, When
from aideploy.settings.hosts import HostTable, Role
from aideploy.settings.install import Install, Tool
from aideploy.settings.monitoring import Monitoring
from aideploy.settings.notify import Notify
from aideploy.settings.problems import Problem
from aideploy.settings.review import Review
from aideploy.settings.rollout import Rollout
from aideploy.settings.serve import Manager, Serve, Strategy
from aideploy.settings.source import Model
from aideploy.settings.ssh import Ssh
from aideploy.settings.train import ProjectTests, Train

# What a release directory holds besides the project's files, and what a slot tells the service.
_OWN_LINKS = (PurePosixPath(".venv"), PurePosixPath("model"), PurePosixPath("release.json"))
_OWN_VARIABLES = frozenset(
    {"BIND", "MODEL_DIR", "PORT", "RELEASE", "RELEASE_DIR", "REVISION", "SLOT"}
)


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of one environment: None is a table that is absent or was refused.

    Attributes:
        refused: the names of the tables that stand in the file and were refused.
        all_hosts: whether every host of the file is among `hosts`.
    """

    app: App | None
    ssh: Ssh | None
    hosts: Mapping[str, HostTable]
    install: Install | None
    test: ProjectTests | None
    train: Train | None
    model: Model | None
    gates: tuple[Gate, ...]
    analyses: tuple[Analysis, ...]
    serve: Serve | None
    health: Health | None
    golden: Golden | None
    rollout: Rollout | None
    monitoring: Monitoring | None
    review: Review | None
    notify: Notify | None
    hooks: Hooks | None
    drift: Drift | None
    refused: frozenset[str]
    all_hosts: bool


def mismatches(tables: Tables) -> Iterator[Problem]:
    """Find what does not fit together in one environment."""
    yield from _one_host_per_address(tables)
    if tables.all_hosts:
        yield from _roles(tables)
        yield from _canary(tables)
    if tables.rollout:
        yield from _confirm(tables.rollout)
        yield from _weights(tables.rollout, tables.serve)
    if tables.install:
        yield from _lock_file_needs_uv(tables.install)
    if tables.model:
        yield from _model(tables.model, tables)
    yield from _gates(tables)
    if tables.hooks:
        yield from _hooks(tables.hooks, tables)
    if tables.notify and not (tables.notify.webhook or tables.notify.slack):
        yield Problem(("notify",), "nobody is told, expected a webhook or slack")
    yield from _analyses(tables)
    if tables.golden and tables.serve is None and "serve" not in tables.refused:
        yield Problem(
            ("golden",), "nothing is served, expected a [serve] that answers the requests"
        )
    if tables.drift:
        yield from _drift(tables.drift, tables)
    if tables.serve:
        yield from _what_serves(tables.serve)
        if tables.serve.contained:
            yield from _container(tables.serve, tables.golden)
        yield from _ports(tables.serve)
        if tables.monitoring and tables.monitoring.file_sd:
            yield from _metrics_port(tables.serve, tables.monitoring)
        yield from _manager(tables.serve)
        yield from _variables(tables.serve)
        yield from _sources_of_nothing(tables.serve, tables)
        yield from _linked(tables.serve)


def _one_host_per_address(tables: Tables) -> Iterator[Problem]:
    first: dict[tuple[str, int | None], str] = {}
    for name, host in tables.hosts.items():
        port = host.port or (tables.ssh.port if tables.ssh else None)
        other = first.setdefault((host.address.lower(), port), name)
        if other != name:
            text = f"found {host.address!r}, the address of {other} too, expected one of its own"
            yield Problem(("hosts", name, "address"), text)


def _roles(tables: Tables) -> Iterator[Problem]:
    roles = frozenset[Role]().union(*(host.roles for host in tables.hosts.values()))
    for table, role, present in (
        ("serve", Role.SERVE, tables.serve is not None),
        ("train", Role.TRAIN, tables.train is not None),
        ("test", Role.TRAIN, tables.test is not None),
        ("monitoring", Role.MONITOR, bool(tables.monitoring and tables.monitoring.file_sd)),
    ):
        if present and role not in roles:
            yield Problem((table,), f'no host has the role "{role}", expected at least one')
    if tables.serve is None and "serve" not in tables.refused and Role.SERVE in roles:
        serving = [name for name, host in tables.hosts.items() if Role.SERVE in host.roles]
        yield Problem(
            ("serve",),
            f'missing, but {", ".join(serving)} has the role "serve"; '
            'expected [serve] with a command, or hosts with roles = ["train"]',
        )


def _canary(tables: Tables) -> Iterator[Problem]:
    serving = sum(Role.SERVE in host.roles for host in tables.hosts.values())
    canary = tables.rollout.canary if tables.rollout else None
    if serving and canary and not canary.is_part and canary.number > serving:
        has = "one host that serves" if serving == 1 else f"{serving} hosts that serve"
        text = f"found {canary.number}, but this environment has {has}, expected no more than that"
        yield Problem(("rollout", "canary"), text)


def _lock_file_needs_uv(install: Install) -> Iterator[Problem]:
    if install.tool is Tool.PIP and any(file.name == "uv.lock" for file in install.requirements):
        text = 'found uv.lock, which pip cannot read, expected tool = "uv" or other files'
        yield Problem(("install", "requirements"), text)


def _model(model: Model, tables: Tables) -> Iterator[Problem]:
    trains = tables.train is not None or "train" in tables.refused
    if model.source and trains:
        text = "there is a [train] too, expected one of the two: where does the model come from?"
        yield Problem(("model", "source"), text)
    if model.source and model.store:
        yield Problem(("model", "store"), "found a source too; a store keeps what [train] makes")
    elif model.store and not trains:
        yield Problem(("model", "store"), "there is no [train] whose models it could keep")
    if model.source and not model.registered and model.sha256 is None:
        text = f"missing; expected the sha256 of what lies at {model.shown_source}"
        yield Problem(("model", "sha256"), text)
    if model.registered and model.tracking_uri is None:
        yield Problem(("model", "tracking_uri"), f"missing; expected where {model.source} is known")
    for key in ("sha256", "metrics", "tracking_uri"):
        if getattr(model, key) is not None and not model.source:
            yield Problem(("model", key), "found no source that it would belong to")
    if model.tracking_uri and model.source and not model.registered:
        text = "belongs to a source that begins with models:/"
        yield Problem(("model", "tracking_uri"), text)


def _gates(tables: Tables) -> Iterator[Problem]:
    has_model = tables.train is not None or bool(tables.model and tables.model.source)
    if tables.gates and not has_model and not {"train", "model"} & tables.refused:
        yield Problem(("gate",), "there is no [train] whose metrics could be judged; expected one")
    first: dict[tuple[str, str | None], int] = {}
    for index, gate in enumerate(tables.gates):
        judged = (gate.metric, gate.slice)
        if first.setdefault(judged, index) != index:
            text = f"gate[{first[judged]}] judges the same, expected all limits in one of the two"
            yield Problem(("gate", index), text)


def _analyses(tables: Tables) -> Iterator[Problem]:
    if not tables.analyses:
        return
    # They know the models of this room.
    from aideploy.analysis.queries import NoSignal, templates
    from aideploy.monitoring.presets import signals

    if tables.monitoring and tables.monitoring.prometheus is None:
        text = "there is no [monitoring.prometheus] that could be asked; expected one"
        yield Problem(("analysis",), text)
    if tables.serve is None and "serve" not in tables.refused:
        yield Problem(("analysis",), "nothing is served, expected a [serve] that can be judged")
    first: dict[str, int] = {}
    for index, check in enumerate(tables.analyses):
        if first.setdefault(check.name, index) != index:
            text = f"analysis[{first[check.name]}] has the same name, expected one of its own"
            yield Problem(("analysis", index, "name"), text)
        if tables.monitoring:
            try:
                templates(check, signals(tables.monitoring))
            except NoSignal as error:
                text = f'the preset "{tables.monitoring.preset}" knows {error}; expected queries'
                yield Problem(("analysis", index), text)


def _confirm(rollout: Rollout) -> Iterator[Problem]:
    confirm, bake = (time.total_seconds() for time in (rollout.confirm, rollout.bake))
    if confirm <= bake:
        text = f"found {confirm:g} s, expected more than the bake of {bake:g} s"
        yield Problem(("rollout", "confirm"), text)


def _drift(drift: Drift, tables: Tables) -> Iterator[Problem]:
    serve = tables.serve
    if (drift.log is None) == (drift.command is None):
        text = "expected one of the two: log, which the service writes, or command, which prints it"
        yield Problem(("drift",), text)
    if serve is None and "serve" not in tables.refused:
        yield Problem(("drift",), "nothing is served, expected a [serve] whose data could drift")
    if tables.monitoring and tables.monitoring.textfile is None:
        text = "missing; expected the folder where node_exporter reads what [drift] finds"
        yield Problem(("monitoring", "textfile"), text)
    if serve and serve.manager is Manager.SUPERVISOR:
        text = 'found manager = "supervisor" in [serve], expected systemd, whose timers look'
        yield Problem(("drift",), text)
    if serve and serve.contained and drift.command is not None:
        text = "a container's own programs cannot be called from outside, expected a log"
        yield Problem(("drift", "command"), text)


def _what_serves(serve: Serve) -> Iterator[Problem]:
    if serve.command is None and not serve.contained:
        text = "missing; expected: the command that serves, or image or dockerfile for a container"
        yield Problem(("serve", "command"), text)
    if serve.image and serve.dockerfile:
        text = "found beside image, expected one of the two: what is pulled, or what is built"
        yield Problem(("serve", "dockerfile"), text)
    if not serve.contained and "runtime" in serve.model_fields_set:
        text = "found without a container, expected image or dockerfile beside it"
        yield Problem(("serve", "runtime"), text)


def _container(serve: Serve, golden: Golden | None) -> Iterator[Problem]:
    if serve.manager is not Manager.SYSTEMD_USER:
        text = (
            f'found "{serve.manager}", but a container runs as the user that logs in, who has '
            'its image; expected "systemd-user"'
        )
        yield Problem(("serve", "manager"), text)
    if serve.strategy is Strategy.SOCKET:
        text = (
            'found "socket", which hands a socket to a program of the host, expected "blue_green" '
            'or "recreate" with a container'
        )
        yield Problem(("serve", "strategy"), text)
    if golden and golden.max_memory is not None:
        text = "the memory of a container is not measured, expected memory_max in [serve]"
        yield Problem(("golden", "max_memory"), text)


def _weights(rollout: Rollout, serve: Serve | None) -> Iterator[Problem]:
    if rollout.weights and serve and serve.strategy is not Strategy.BLUE_GREEN:
        text = f'found strategy = "{serve.strategy}", only "blue_green" can share the requests'
        yield Problem(("rollout", "weights"), text)
    for index, (before, weight) in enumerate(pairwise(rollout.weights), start=1):
        if weight <= before:
            text = f"found {weight}% after {before}%, expected more each time"
            yield Problem(("rollout", "weights", index), text)


def _ports(serve: Serve) -> Iterator[Problem]:
    if serve.slot_port == serve.port:
        text = f"found {serve.slot_port}, the port of the service, expected another one"
        yield Problem(("serve", "slot_port"), text)
    if serve.port in serve.slot_ports:
        text = f"found {serve.port}, the port that users reach, expected two others"
        yield Problem(("serve", "slot_ports"), text)
    if serve.slot_ports[0] == serve.slot_ports[1]:
        text = f"found {serve.slot_ports[0]} twice, expected two ports, as both slots run at once"
        yield Problem(("serve", "slot_ports"), text)


def _metrics_port(serve: Serve, monitoring: Monitoring) -> Iterator[Problem]:
    port = monitoring.metrics_port_beside(serve.port)
    if serve.strategy is Strategy.BLUE_GREEN and port in (serve.port, *serve.slot_ports):
        text = f"{port} is a port of the service, expected another one"
        yield Problem(("monitoring", "metrics_port"), text)


def _manager(serve: Serve) -> Iterator[Problem]:
    supervisor = serve.manager is Manager.SUPERVISOR
    if supervisor and serve.strategy is not Strategy.RECREATE:
        text = f'found "{serve.strategy}", which needs systemd, expected "recreate" with supervisor'
        yield Problem(("serve", "strategy"), text)
    if serve.user and serve.manager is not Manager.SYSTEMD:
        text = f'{serve.manager} runs the service as the user that logs in, expected no key "user"'
        yield Problem(("serve", "user"), text)
    for limit in ("memory_max", "cpu_quota"):
        if supervisor and getattr(serve, limit) is not None:
            text = f'supervisor cannot limit a service, expected no key "{limit}"'
            yield Problem(("serve", limit), text)


def _variables(serve: Serve) -> Iterator[Problem]:
    for name in _OWN_VARIABLES.intersection(serve.environment):
        yield Problem(("serve", "environment", name), f"aideploy sets {name} itself")
    for index, name in enumerate(serve.secrets):
        if name in _OWN_VARIABLES:
            yield Problem(("serve", "secrets", index), f"aideploy sets {name} itself")
        elif name in serve.environment:
            text = f"{name} stands in [serve.environment] too, expected it in one of the two"
            yield Problem(("serve", "secrets", index), text)


def _sources_of_nothing(serve: Serve, tables: Tables) -> Iterator[Problem]:
    if serve.secrets or tables.review or (tables.model and tables.model.variables):
        return
    if tables.notify and tables.notify.secrets:
        return
    for source in ("secrets_file", "secrets_command"):
        if getattr(serve, source) is not None:
            text = "found a source of secrets, but no names: expected them in serve.secrets"
            yield Problem(("serve", source), text)


def _hooks(hooks: Hooks, tables: Tables) -> Iterator[Problem]:
    """A hook of a phase that never comes would be waited for in vain."""
    missing = {
        Phase.REVIEW: ("[review]", tables.review),
        Phase.TEST: ("[test]", tables.test),
        Phase.TRAIN: ("[train]", tables.train),
        Phase.MODEL: ("[model] source", tables.model and tables.model.source),
    }
    has_model = tables.train or (tables.model and tables.model.source)
    without = ("[train] and no [model] source", has_model)
    missing |= {Phase.EVALUATE: without, Phase.DISTRIBUTE: without}
    for phase, (name, there) in missing.items():
        for when in When:
            table = name.partition("]")[0].strip("[")
            if hooks.command(when, phase) and not there and table not in tables.refused:
                text = f"there is no {name}, so there is no phase {phase}"
                yield Problem(("hooks", f"{when}_{phase}"), text)


def _linked(serve: Serve) -> Iterator[Problem]:
    seen: list[PurePosixPath] = []
    for index, linked in enumerate(serve.linked):
        path = linked.path
        if any(path.is_relative_to(own) for own in _OWN_LINKS):
            text = f"found '{path}', which every release has of its own, expected another name"
            yield Problem(("serve", "linked", index), text)
        for other in seen:
            if path.is_relative_to(other) or other.is_relative_to(path):
                text = f"found '{path}', which overlaps with '{other}', expected one of the two"
                yield Problem(("serve", "linked", index), text)
        seen.append(path)
