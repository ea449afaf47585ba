"""One host that serves, with what the settings say of it: what the rules ask about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aideploy.diagnosis.cause import Cause, Kind, Sure
from aideploy.diagnosis.look import HostLook, Unit

if TYPE_CHECKING:
    from aideploy.settings import Settings
    from aideploy.settings.serve import Serve

# It runs, but not for long yet, and was restarted before.
_JUST_STARTED_SECONDS = 300
_MANY_RESTARTS = 3


@dataclass(frozen=True)
class Seen:
    """One host that serves, and what the settings say of it."""

    settings: Settings
    serve: Serve
    look: HostLook

    @property
    def unit(self) -> Unit | None:
        """The live unit, under systemd."""
        return self.look.units.get(f"{self.settings.app.name}@{self.look.slot}.service")

    @property
    def restarts(self) -> bool:
        """Whether it ends again and again."""
        unit, look = self.unit, self.look
        if look.service == "failed" or look.detail.split()[1:2] == ["BACKOFF"]:
            return True
        if unit is None:
            return False
        if unit.sub == "auto-restart":
            return True
        young = unit.started is None or look.uptime - unit.started < _JUST_STARTED_SECONDS
        return unit.restarts >= _MANY_RESTARTS and young

    @property
    def ails(self) -> bool:
        """Whether the service is not well."""
        look = self.look
        return bool(look.release) and (
            self.restarts or look.service != "active" or look.healthy is False
        )

    @property
    def front_down(self) -> tuple[Unit, ...]:
        """The units of the HAProxy in front of it that do not run."""
        names = [f"{self.settings.app.name}-haproxy.{kind}" for kind in ("service", "socket")]
        units = [unit for name in names if (unit := self.look.units.get(name))]
        return tuple(unit for unit in units if unit.active != "active")

    @property
    def speaks(self) -> bool:
        """Whether its last lines may say why: not those of one that was stopped long ago, or that
        runs and is reached by nobody."""
        runs = self.look.service == "active" and not self.restarts
        return self.ails and self.look.service != "inactive" and not (runs and self.front_down)

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that may say why."""
        return self.look.last_runs if self.speaks else ()

    def sure(self, line: str) -> Sure:
        """How sure it is that something explains what is seen, which this line tells of."""
        return Sure.PROVEN if line else Sure.FOUND if self.ails else Sure.NOTED

    def cause(
        self, kind: Kind, what: str, *evidence: str, next_step: str, sure: Sure | None = None
    ) -> Cause:
        """Return a cause on this host."""
        told = tuple(dict.fromkeys(filter(None, evidence)))
        return Cause(self.look.host, kind, what, told, next_step, sure or self.sure(""))
