"""`fab plan` and `fab deploy --dry-run`: what a deploy would do, and nothing of it done."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aideploy.commands import planned_scripts
from aideploy.commands.asking import named, of_serving
from aideploy.delivery.endings import judged
from aideploy.delivery.fetching import INLINE_PACK_BYTES
from aideploy.errors import UsageError
from aideploy.events import Phase
from aideploy.gates.reviewing import place_of
from aideploy.jobs.gang import trainers_of
from aideploy.phases import batches, drift, install, planning, service, share
from aideploy.phases import facts as looking
from aideploy.phases.batches import Course
from aideploy.phases.evaluate import earlier
from aideploy.phases.facts import HostFacts
from aideploy.phases.fetch import wanted_revision
from aideploy.phases.planning import Coming
from aideploy.remote.fleet import FleetError
from aideploy.remote.script import Script
from aideploy.remote.session import Lock, Session
from aideploy.report.facts import Table, Text
from aideploy.report.next_command import typed
from aideploy.report.wording import joined
from aideploy.repository import Repository
from aideploy.running import Run
from aideploy.services.files import RenderedFile, installed_files, rendered_files
from aideploy.services.manager import Slot, slots
from aideploy.settings import Role, Settings
from aideploy.settings.app import Source
from aideploy.settings.serve import Serve


@dataclass(frozen=True)
class FileChange:
    """A configuration file that is not as the settings want it; `fab setup` would change it."""

    path: str
    diff: tuple[str, ...]


@dataclass(frozen=True)
class HostPlan:
    """What a deploy would bring to one host.

    Args:
        host: its name.
        release: what is live there now.
        commits, leaving: those that are new, and those that would be gone; newest first.
        comparable: whether the repository knows the commit that is live.
        environment: the hash of the environment; "none" where no dependencies are named.
        reused: whether that is there already.
        files: configuration files that differ.
    """

    host: str
    release: str | None
    commits: tuple[str, ...]
    leaving: tuple[str, ...]
    comparable: bool
    environment: str
    reused: bool
    files: tuple[FileChange, ...]


@dataclass(frozen=True)
class PlannedPhase:
    """One phase of the deploy: on which hosts, and what it does there. Without hosts: skipped."""

    phase: str
    hosts: tuple[str, ...]
    what: str


@dataclass(frozen=True)
class Plan:
    """A deploy as it would be now.

    Args:
        app, environment: of what.
        wanted: the revision that was asked for.
        revision, subject, author: the commit that it is.
        phases: in their order.
        hosts: those that would get it.
        scripts: what would run, as text; empty unless asked for.
        behind: which hosts serve something else than the last good release, in sentences.
        hooks: the commands that this machine runs, each behind its key.
        next_step: what to type then.
        setup: what to type where configuration files differ.
    """

    app: str
    environment: str
    wanted: str
    revision: str
    subject: str
    author: str
    phases: tuple[PlannedPhase, ...]
    hosts: tuple[HostPlan, ...]
    scripts: tuple[str, ...]
    behind: tuple[str, ...]
    hooks: tuple[str, ...]
    next_step: str
    setup: str

    def shown(self) -> tuple[Table | Text, ...]:
        """Return what a person wants to know, the most important last."""
        everybody = max(len(phase.hosts) for phase in self.phases)
        return (
            Text("", self.scripts),
            Text("", (self._headline(),)),
            Table(
                ("PHASE", "HOSTS", "WHAT"),
                tuple((one.phase, named(one.hosts, everybody), one.what) for one in self.phases),
            ),
            Table(("HOST", "LIVE", "CHANGE", "ENVIRONMENT"), tuple(map(_row, self.hosts))),
            *self._groups("new", {one.host: one.commits for one in self.hosts}),
            *self._groups("gone", {one.host: one.leaving for one in self.hosts}),
            *self._diffs(),
            Text("this machine runs ([hooks]):", self.hooks),
            Text("all hosts get the new release, also those that are behind:", self.behind),
            Text("nothing was changed; next:", (f"  {self.next_step}",)),
        )

    def _headline(self) -> str:
        commit = f"{self.revision[:7]} {self.subject} ({self.author})"
        return f"{self.wanted} of {self.app} to {self.environment}: {commit}"

    def _groups(self, word: str, lines: Mapping[str, tuple[str, ...]]) -> Iterator[Text]:
        """Yield the commits, those that are the same for several hosts once."""
        hosts: dict[tuple[str, ...], list[str]] = {}
        for host, commits in lines.items():
            hosts.setdefault(commits, []).append(host)
        for commits, who in hosts.items():
            title = f"commits that are {word} on {named(tuple(who), len(self.hosts))}:"
            yield Text(title, tuple(f"  {commit}" for commit in commits))

    def _diffs(self) -> Iterator[Text]:
        hosts: dict[FileChange, list[str]] = {}
        for one in self.hosts:
            for change in one.files:
                hosts.setdefault(change, []).append(one.host)
        for change, who in hosts.items():
            title = f"{change.path} on {named(tuple(who), len(self.hosts))} differs ({self.setup}):"
            yield Text(title, change.diff)


def plan(run: Run, revision: str | None, *, scripts: bool = False) -> Plan:
    """Find out what a deploy of this revision would do on each host.

    Args:
        run: the command.
        revision: a branch, a tag or a commit; None for [app] branch.
        scripts: whether to give the text of the scripts, too.

    Raises:
        FleetError: a host is unreachable, or not ready for a deploy.
        UsageError: there is no such revision.
    """
    settings = run.settings
    wanted = wanted_revision(settings, revision)
    results = run.fleet.open(Lock.NONE, looking.script(settings))
    facts = {name: looking.read(name, result) for name, result in results.items()}
    refusals = [
        refusal
        for host in settings.hosts
        if (refusal := looking.refusal(facts[host.name], host)) is not None
    ]
    if refusals:
        raise judged(FleetError(Phase.OPEN, tuple(refusals)))
    deployed = [host.name for host in settings.hosts if host.roles & {Role.TRAIN, Role.SERVE}]
    if not deployed:
        raise UsageError("no host trains or serves", next_step="correct the roles in hosts.toml")
    asking = _scripts(settings, wanted, {name: facts[name] for name in deployed})

    def work(session: Session) -> tuple[Coming, tuple[FileChange, ...]]:
        name = session.host.name
        files = rendered_files(settings, session.host, root=facts[name].root, user=facts[name].user)
        reading = Script("read_files", tuple(str(file.path) for file in files), ("files",))
        coming, there = session.run(Phase.LOOK, asking[name], reading)
        installed = {file.path: file.content for file in installed_files(files, there)}
        changes = (_change(file, installed.get(file.path, "")) for file in files)
        return planning.read(coming), tuple(change for change in changes if change)

    try:
        found = run.fleet.each(Phase.LOOK, work, deployed)
    except FleetError as error:
        raise judged(error) from error
    fetched = found[deployed[0]][0].fetched
    coming = {name: one for name, (one, _) in found.items()}
    return Plan(
        app=settings.app.name,
        environment=settings.environment,
        wanted=wanted,
        revision=fetched.commit,
        subject=fetched.subject,
        author=fetched.author,
        phases=tuple(_phases(settings, facts, coming)),
        hosts=tuple(
            HostPlan(
                host=name,
                release=facts[name].current,
                commits=one.commits,
                leaving=one.leaving,
                comparable=one.fetched.ahead is not None,
                environment=one.installed.hash,
                reused=one.installed.reused,
                files=changes,
            )
            for name, (one, changes) in found.items()
        ),
        scripts=planned_scripts.shown(settings, facts, coming, wanted, run.who) if scripts else (),
        behind=tuple(_behind(of_serving(settings, facts))),
        hooks=tuple(_hooks(settings)),
        next_step=typed("fab deploy", settings),
        setup=typed("fab setup", settings),
    )


def _hooks(settings: Settings) -> Iterator[str]:
    for key, command in settings.hooks.commands().items() if settings.hooks else ():
        yield f"  {key}: {command.strip()}"


def _behind(serving: Mapping[str, HostFacts]) -> Iterator[str]:
    good = drift.last_good(serving)
    for name, known in serving.items():
        for one in drift.of_release(known, good):
            yield f"  {name} {one.what}"


def _scripts(
    settings: Settings, wanted: str, facts: Mapping[str, HostFacts]
) -> Mapping[str, Script]:
    """Return for each host the script that finds out."""
    if settings.app.source is Source.PULL:
        return {
            name: planning.pull(settings, wanted, known.current_revision)
            for name, known in facts.items()
        }
    repository = Repository(settings.path.parent / str(settings.app.repository))
    commit = repository.commit(wanted)
    packs = {have: repository.pack(commit, have) for have in {one.have for one in facts.values()}}
    largest = max(map(len, packs.values()))
    if largest > INLINE_PACK_BYTES:
        raise UsageError(
            f"the commits that the hosts lack are too many for a plan ({largest // 2**20} MB)",
            next_step="fab step.fetch brings them there and changes nothing that users see",
        )
    return {
        name: planning.push(settings, packs[known.have], commit, known.current_revision)
        for name, known in facts.items()
    }


def _change(file: RenderedFile, there: str | None) -> FileChange | None:
    """Return how the file would change; None where it stays, or may not be read."""
    if there is None or there == file.content:
        return None
    lines = difflib.unified_diff(
        there.splitlines(), file.content.splitlines(), "on the host", "as it should be", lineterm=""
    )
    return FileChange(str(file.path), tuple(lines))


def _phases(
    settings: Settings, facts: Mapping[str, HostFacts], coming: Mapping[str, Coming]
) -> Iterator[PlannedPhase]:
    def of(role: Role) -> tuple[str, ...]:
        return tuple(host.name for host in settings.with_role(role))

    def phase(phase: Phase, hosts: Iterable[str], what: str) -> PlannedPhase:
        return PlannedPhase(phase.value, tuple(hosts), what)

    everybody = tuple(host.name for host in settings.hosts)
    serve, trainer = of(Role.SERVE), of(Role.TRAIN)[:1]
    first = trainer if settings.train else serve[:1]
    receivers = tuple(name for name in serve if name not in first) if settings.model_path else ()
    yield phase(Phase.OPEN, everybody, "connect, take the lock, look around")
    pulled = settings.app.source is Source.PULL
    yield phase(Phase.FETCH, coming, "from the repository" if pulled else "sent by this machine")
    if review := settings.review:
        asked = f"pull request and checks in {review.repository}"
        yield phase(Phase.REVIEW, (place_of(review),), asked)
    yield phase(Phase.INSTALL, coming, _installing(settings, coming))
    tester = (trainer or tuple(coming)[:1]) if settings.test else ()
    yield phase(
        Phase.TEST, tester, settings.test.command if settings.test else "there is no [test]"
    )
    yield phase(
        Phase.TRAIN,
        trainers_of(settings),
        f"anew: {settings.train.command}" if settings.train else "there is no [train]",
    )
    if settings.model.source:
        yield phase(Phase.MODEL, first, f"from {settings.model.shown_source}, unless it is there")
    yield phase(Phase.EVALUATE, *_evaluating(settings, facts))
    yield phase(Phase.DISTRIBUTE, receivers, _distributing(settings, receivers))
    if serve and settings.serve:
        yield phase(Phase.STAGE, serve, f"{_proof(settings, settings.serve)} beside what is live")
        spread = batches.course(settings, serve)
        sharing = share.sharing(spread, facts)
        for weight in spread.weights if sharing else ():
            which = joined(spread.batch(0), share.in_words(weight), "then watched")
            yield phase(Phase.SWITCH, sharing, which)
        for index, hosts in enumerate(spread.batches):
            which = str(spread.batch(index))
            strategy = f"strategy {settings.serve.strategy}, then asked"
            yield phase(Phase.SWITCH, hosts, joined(which, strategy))
        yield phase(Phase.WATCH, serve, _watching(spread))
    yield phase(Phase.FINISH, everybody, f"keep {settings.app.keep_releases} good releases")


def _distributing(settings: Settings, receivers: tuple[str, ...]) -> str:
    if not receivers:
        return "nobody else needs it"
    if settings.model.source:
        return "each fetches it from there"
    if settings.model.store:
        return f"through {settings.model.store}"
    return "the model, verified where it is"


def _evaluating(settings: Settings, facts: Mapping[str, HostFacts]) -> tuple[tuple[str, ...], str]:
    if settings.model_path is None:
        return (), "there is no model"
    if not settings.gates:
        return (), "there is no [[gate]]: deploy needs --no-gate"
    known = earlier(facts[host.name] for host in settings.with_role(Role.SERVE))
    count = f"by {len(settings.gates)} [[gate]]"
    if known is None:
        first = settings.with_role(Role.TRAIN if settings.train else Role.SERVE)[0]
        return (first.name,), f"{count}, unopposed: nothing was good yet"
    return (known.host,), f"{count}, against {known.releases[0]}"


def _watching(spread: Course) -> str:
    """Return what happens while a rollout with this course is watched."""
    each = " after each batch" if len(spread.batches) > 1 else ""
    pause = f", {spread.pause.total_seconds():g} s of pause" if spread.pause and each else ""
    borne = f"if more than {spread.max_failures} fail" if spread.max_failures else "if one fails"
    then = "a person decides" if spread.holds else "all go back"
    return f"for {spread.bake.total_seconds():g} s{each}{pause}; {borne}, {then}"


def _proof(settings: Settings, serve: Serve) -> str:
    if not service.proven_beside(settings):
        return "one model a GPU: not"
    ports = slots(serve)
    staged = [ports[Slot.STAGED]] if Slot.STAGED in ports else ports.values()
    return f"proven on port {' or '.join(map(str, staged))}"


def _installing(settings: Settings, coming: Mapping[str, Coming]) -> str:
    serve = settings.serve
    if serve and serve.contained:
        image = f"pull {serve.image}" if serve.image else f"an image from {serve.dockerfile}"
        return joined(image, _environments(coming) if install.is_needed(settings) else "")
    return _environments(coming)


def _environments(coming: Mapping[str, Coming]) -> str:
    installed = [one.installed for one in coming.values()]
    if all(one.hash == "none" for one in installed):
        return "no dependencies are named"
    built = sum(not one.reused for one in installed)
    return f"built on {built}, reused on {len(installed) - built}"


def _row(one: HostPlan) -> tuple[str, ...]:
    more = "+" if len(one.commits) == planning.MOST_COMMITS else ""
    words = [f"{len(one.commits)}{more} new"] if one.commits else []
    words += [f"{len(one.leaving)} gone"] if one.leaving else []
    if one.release is None:
        words = ["the first release"]
    elif not one.comparable:
        words = ["the repository does not know the commit that is live"]
    environment = f"{one.environment[:7]} {'reused' if one.reused else 'built'}"
    return (
        one.host,
        one.release or "nothing",
        ", ".join(words) or "the same commit",
        "" if one.environment == "none" else environment,
    )
