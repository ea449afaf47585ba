"""`Settings`: everything hosts.toml says about one environment.

`loading.load` makes it, every other room reads it, nobody changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from aideploy.errors import UsageError
from aideploy.settings.analysis import Analysis
from aideploy.settings.app import App
from aideploy.settings.drift import Drift
from aideploy.settings.gate import Gate
from aideploy.settings.golden import Golden
from aideploy.settings.health import Health
from aideploy.settings.hooks import Hooks
from aideploy.settings.hosts import Host, Role
from aideploy.settings.install import Install
from aideploy.settings.monitoring import Monitoring
from aideploy.settings.notify import Notify
from aideploy.settings.problems import hint
from aideploy.settings.review import Review
from aideploy.settings.rollout import Rollout
from aideploy.settings.serve import Serve
from aideploy.settings.source import Model
from aideploy.settings.ssh import Ssh
from aideploy.settings.train import ProjectTests, Train


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of one environment, overrides merged and defaults filled in.

    Attributes:
        path: the file they come from; what it names on this machine is relative to its folder.
        environment: the name of the environment.
        environment_by_default: whether a command without --env means it.
        hosts: its hosts, in the order of the file; after `only` those that were chosen.
        every_host: all of them, where some were chosen.
        test: None without a `[test]` table; `train`, `serve`, `golden`, `review`, `notify`, `hooks`
            and `drift` likewise.
        gates: the `[[gate]]` tables, in the order of the file; `analyses` likewise.
    """

    path: Path
    environment: str
    app: App
    ssh: Ssh
    hosts: tuple[Host, ...]
    install: Install
    test: ProjectTests | None
    train: Train | None
    model: Model
    gates: tuple[Gate, ...]
    analyses: tuple[Analysis, ...]
    serve: Serve | None
    health: Health
    golden: Golden | None
    rollout: Rollout
    monitoring: Monitoring
    review: Review | None
    notify: Notify | None = None
    hooks: Hooks | None = None
    drift: Drift | None
    every_host: tuple[Host, ...] = ()
    environment_by_default: bool = True

    @property
    def all_hosts(self) -> tuple[Host, ...]:
        """All hosts of the environment, chosen or not."""
        return self.every_host or self.hosts

    @property
    def model_path(self) -> PurePosixPath | None:
        """Where a release finds its model; None for an app that has none."""
        if self.train is not None:
            return self.train.outputs
        return self.model.path if self.model.source else None

    @property
    def metrics_file(self) -> str:
        """What the metrics of the model are read from."""
        if self.train is not None:
            return str(self.train.metrics)
        return (self.model.metrics or "the metrics of its run").partition("?")[0]

    def with_role(self, role: Role) -> tuple[Host, ...]:
        """The hosts that have this role, in the order of the file."""
        return tuple(host for host in self.hosts if role in host.roles)

    def only(self, names: Iterable[str]) -> Settings:
        """The same settings with these hosts and no others.

        Raises:
            UsageError: a name is not that of a host; it says which, and which hosts there are.
        """
        wanted = tuple(names)
        known = tuple(host.name for host in self.hosts)
        unknown = [name for name in wanted if name not in known]
        if unknown or not wanted:
            raise UsageError(
                f"environment {self.environment} has no host {', '.join(map(repr, unknown))}"
                if unknown
                else "no host was named",
                why="\n".join(f"{name!r}: {hint(name, known)}" for name in unknown),
                next_step=f"choose from: {', '.join(known)}",
            )
        chosen = tuple(host for host in self.hosts if host.name in wanted)
        return replace(self, hosts=chosen, every_host=self.all_hosts)
