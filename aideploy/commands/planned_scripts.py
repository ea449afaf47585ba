"""The scripts of a deploy as they would run, for `fab plan --scripts`. Secrets are masked.

What only the deploy itself finds out stands in angle brackets. What several scripts share is shown
once, in front of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aideploy.commands.asking import named
from aideploy.events import Phase
from aideploy.jobs import scripts as jobs
from aideploy.phases import (
    batches,
    distribute,
    due,
    evaluate,
    fetch,
    image,
    install,
    model,
    service,
    share,
    test,
    train,
)
from aideploy.phases.distribute import Artifact
from aideploy.phases.facts import HostFacts
from aideploy.phases.journal import Entry, Verdict
from aideploy.phases.planning import Coming
from aideploy.phases.service import Direction, Staging, Target
from aideploy.records import card
from aideploy.remote.script import Script, source
from aideploy.services.release import release_files
from aideploy.settings import Host, Role, Settings
from aideploy.settings.app import Source

if TYPE_CHECKING:
    from aideploy.settings.serve import Serve

_STAMP = "<time>"
_MODEL = "<sha256 of the model>"


def shown(
    settings: Settings,
    facts: Mapping[str, HostFacts],
    coming: Mapping[str, Coming],
    wanted: str,
    who: str,
) -> tuple[str, ...]:
    """Return the lines of all scripts, in the order of the phases.

    Args:
        settings: of the environment.
        facts: of every host.
        coming: what would come to each that trains or serves.
        wanted: the revision that was asked for.
        who: who would deploy.
    """
    by_phase: dict[tuple[Phase, str], dict[str, Script]] = {}
    serving = [facts[host.name] for host in settings.with_role(Role.SERVE)]
    earlier = evaluate.earlier(serving) if settings.gates else None
    for host in settings.hosts:
        if host.name not in coming:
            continue
        known, brought = facts[host.name], coming[host.name]
        planned = _Planned(settings, host, known, brought, earlier, wanted, who)
        for phase, script in planned.scripts():
            by_phase.setdefault((phase, script.name), {})[host.name] = script
    scripts = [script for one in by_phase.values() for script in one.values()]
    shared = dict.fromkeys(name for script in scripts for name in script.libraries)
    lines = _titled("in front of every script", source("prelude"))
    for name in shared:
        lines += _titled(f"in front of those that need it: {name}", source(name))
    for (phase, _), by_host in by_phase.items():
        lines += _one_phase(phase, by_host, len(settings.hosts))
    return tuple(lines)


def _one_phase(phase: Phase, by_host: Mapping[str, Script], everybody: int) -> list[str]:
    """Return the script once, and the arguments of each host where they differ."""
    first = next(iter(by_host.values()))
    lines = _titled(f"{phase} on {named(tuple(by_host), everybody)}", first.shown())
    for host, script in by_host.items():
        if script.shown_arguments() != first.shown_arguments():
            lines += _titled(f"{phase} on {host}: the same with", script.shown_arguments())
    return lines


def _titled(title: str, text: str) -> list[str]:
    return [f"##### {title}", *text.rstrip("\n").split("\n"), ""]


@dataclass(frozen=True)
class _Planned:
    """The deploy to one host, as far as it is known now."""

    settings: Settings
    host: Host
    facts: HostFacts
    coming: Coming
    earlier: evaluate.Earlier | None
    wanted: str
    who: str

    @property
    def revision(self) -> str:
        return self.coming.fetched.commit

    @property
    def release(self) -> str:
        return f"{_STAMP}-{self.revision[:7]}"

    @property
    def model(self) -> str:
        return _MODEL if self.settings.model_path else ""

    def scripts(self) -> Iterator[tuple[Phase, Script]]:
        settings, facts = self.settings, self.facts
        trainers = [*settings.with_role(Role.TRAIN), *settings.hosts]
        leads = trainers[0].name == self.host.name
        yield Phase.FETCH, self._fetch()
        if settings.serve and Role.SERVE in self.host.roles:
            yield from self._image(settings.serve)
        if install.is_needed(settings):
            yield Phase.INSTALL, install.script(settings, self.release, self.coming.fetched.tree)
        if settings.test and leads:
            yield Phase.TEST, test.script(settings, settings.test, self.release)
        if settings.train and leads:
            how = settings.train
            for script in train.scripts(settings, how, self.release, self.revision, self.who):
                yield Phase.TRAIN, script
        if self.earlier and self.earlier.host == self.host.name:
            yield Phase.EVALUATE, evaluate.script(self.earlier)
        yield from self._distributing(leads=leads)
        if settings.serve and Role.SERVE in self.host.roles:
            yield from self._serving(settings.serve)
        keep = service.kept(facts, self.release, settings.app.keep_releases)
        yield (
            Phase.FINISH,
            service.finish(
                settings,
                facts,
                (self._entry(Verdict.GOOD),),
                keep,
                stand_by=service.stand_by(settings, self.host),
            ),
        )
        yield Phase.FINISH, jobs.prune(settings)

    def _distributing(self, *, leads: bool) -> Iterator[tuple[Phase, Script]]:
        """Yield how the model gets to this host, as far as that is known before it is made."""
        settings, facts = self.settings, self.facts
        table = settings.model
        # Values are masked, so that none is needed here.
        secrets = dict.fromkeys(table.variables, "")
        serves = Role.SERVE in self.host.roles
        if table.source and serves:
            origin = model.Origin(table.source, table.source.endswith("/"), "<of the source>")
            first = settings.with_role(Role.SERVE)[0].name == self.host.name
            metrics = (table.metrics or "") if first else ""
            script = model.fetch(facts, self.release, origin, table, secrets, metrics=metrics)
            yield Phase.MODEL if first else Phase.DISTRIBUTE, script
        elif settings.train and table.store and leads:
            script = model.store(facts, self.release, self.model, table, secrets)
            yield Phase.DISTRIBUTE, script
        elif settings.train and table.store and serves:
            origin = model.in_store(table.store, self.model)
            yield Phase.DISTRIBUTE, model.fetch(facts, self.release, origin, table, secrets)
        elif settings.train and serves and not leads:
            artifact = Artifact(archive="<the model>")
            yield Phase.DISTRIBUTE, distribute.write_model(facts, self.model, artifact)

    def _fetch(self) -> Script:
        live = self.facts.current_revision
        if self.settings.app.source is Source.PULL:
            return fetch.pull(self.settings, self.wanted, _STAMP, live)
        return fetch.push(self.settings, b"", self.revision, _STAMP, live)

    def _image(self, serve: Serve) -> Iterator[tuple[Phase, Script]]:
        if serve.image:
            yield Phase.INSTALL, image.pull(self.settings, serve, self.release, serve.image)
        elif serve.dockerfile and self.settings.with_role(Role.SERVE)[0].name == self.host.name:
            yield Phase.INSTALL, image.build(self.settings, serve, self.release)

    def _serving(self, serve: Serve) -> Iterator[tuple[Phase, Script]]:
        settings, host, facts = self.settings, self.host, self.facts
        target = Target(self.release, self.revision, self.model)
        if self.model:
            yield Phase.STAGE, card.script(facts, self.release, "<the model card>")
        yield Phase.STAGE, service.stage(settings, host, facts, self._staging(serve))
        entries = (self._entry(Verdict.LIVE),)
        spread = batches.course(settings, [one.name for one in settings.with_role(Role.SERVE)])
        for weight in spread.weights if share.sharing(spread, {host.name: facts}) else ():
            yield Phase.SWITCH, share.give(settings, facts, target, weight)
        yield Phase.SWITCH, service.switch(settings, host, facts, target, Direction.ON, entries)
        yield Phase.REVERT, self._left_on_the_host()
        bake = settings.rollout.bake
        yield Phase.WATCH, service.watch(settings, host, facts, self.revision, bake)
        yield Phase.CONFIRM, due.confirm(facts)

    def _left_on_the_host(self) -> Script:
        """Return what the host runs by itself unless it hears the confirmation."""
        settings, host, facts = self.settings, self.host, self.facts
        previous = service.known_target(facts, facts.previous)
        entries = (self._entry(Verdict.REVERTED),)
        return service.switch(settings, host, facts, previous, Direction.BACK, entries)

    def _staging(self, serve: Serve) -> Staging:
        files = release_files(
            self.settings,
            root=self.facts.root,
            release=self.release,
            revision=self.revision,
            model=self.model,
            # The whole file is masked, so that no value is needed here.
            secrets=dict.fromkeys(serve.secrets, ""),
            image="<id of the image>" if serve.contained else "",
        )
        return Staging(
            release=self.release,
            revision=self.revision,
            model=self.model,
            environment=files.environment,
            serve=files.serve,
            record={"<what release.json says>": "<of this host>"},
            entry=self._entry(Verdict.PREPARED),
        )

    def _entry(self, verdict: Verdict) -> Entry:
        return Entry(
            verdict=verdict,
            release=self.release,
            at=datetime.now(UTC),
            who=self.who,
            revision=self.revision,
            model=self.model,
        )
