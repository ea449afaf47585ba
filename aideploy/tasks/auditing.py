"""The tasks that ask what was: history, compare and report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import MARKDOWN, RELEASE, command, options, whole_number

if TYPE_CHECKING:
    from aideploy.report.facts import Facts
    from aideploy.running import Run


@task(
    auto_shortflags=False,
    help=options(
        at='what was live then: "2026-11-20 14:00" or a day; UTC unless it says otherwise',
        release=f"everything about {RELEASE}",
        since="show what happened from this time or day on",
        limit="show at most so many events (30; with --since all)",
        markdown=MARKDOWN,
    ),
)
def history(
    c: Context,
    at: str | None = None,
    release: str | None = None,
    since: str | None = None,
    limit: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
    markdown: bool = False,
) -> None:
    """Show what was live when, by whom and why.

    With --at or --release also what it was made of: model, data, commit, and how it was judged. It
    answers for releases that were pruned, too.
    """
    from aideploy.report.choose import Shown

    with command(c, "history", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        facts = _history(run, at, release, since, limit)
        _show(facts, json=json, markdown=markdown)


@task(
    auto_shortflags=False,
    positional=["before", "after"],
    help=options(
        before=RELEASE,
        after="the other release, named in the same way",
        markdown=MARKDOWN,
    ),
)
def compare(
    c: Context,
    before: str,
    after: str,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
    markdown: bool = False,
) -> None:
    """Show what is not the same in two releases.

    Commits, metrics, verdicts of the model gate, packages, model, data and settings.
    """
    from aideploy.commands.compare import compare as ask
    from aideploy.report.choose import Shown

    with command(c, "compare", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        _show(ask(run, before, after), json=json, markdown=markdown)


@task(
    auto_shortflags=False,
    help=options(
        release=f"{RELEASE} (default: what ran last from here)",
        to="write it to this file (default: one in .aideploy/reports)",
        local="ask no host: only what this machine knows",
    ),
)
def report(
    c: Context,
    release: str | None = None,
    to: str | None = None,
    local: bool = False,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Write a deploy or a release as one HTML page.

    Where the time went, the model against its predecessor, the verdicts, the rollout, the log.
    """
    from aideploy.commands.report import report as write
    from aideploy.report.choose import Shown
    from aideploy.tasks.looking import show_facts

    with command(c, "report", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(write(run, release, to, local=local), json=json)


def _history(
    run: Run, at: str | None, release: str | None, since: str | None, limit: str | None
) -> Facts:
    from aideploy.commands.history import MOST_EVENTS, USUAL_EVENTS
    from aideploy.commands.history import history as ask
    from aideploy.commands.live_then import live_then
    from aideploy.commands.one_release import one_release
    from aideploy.errors import UsageError

    given = {"--at": at, "--release": release, "--since": since, "--limit": limit}
    several = [option for option, value in given.items() if value is not None]
    if len(several) > 1 and several != ["--since", "--limit"]:
        raise UsageError(f"{' and '.join(several)} do not go together", next_step="leave one out")
    if at is not None:
        return live_then(run, at)
    if release is not None:
        return one_release(run, release)
    if limit is not None:
        return ask(run, whole_number("--limit", limit, most=MOST_EVENTS), since)
    return ask(run, USUAL_EVENTS if since is None else MOST_EVENTS, since)


def _show(facts: Facts, *, json: bool, markdown: bool) -> None:
    from aideploy.errors import UsageError
    from aideploy.report.facts import print_markdown
    from aideploy.tasks.looking import show_facts

    if json and markdown:
        raise UsageError("--json and --markdown do not go together", next_step="leave one out")
    if markdown:
        print_markdown(facts)
    else:
        show_facts(facts, json=json)
