"""The tasks that ask and change nothing: status, releases, logs, check, diagnose, plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import command, options, whole_number

if TYPE_CHECKING:
    from aideploy.report.facts import Facts
    from aideploy.services.manager import Place


@task(auto_shortflags=False, help=options())
def status(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show what every host serves and how it is."""
    from aideploy.commands.status import status as ask
    from aideploy.report.choose import Shown

    with command(c, "status", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(ask(run), json=json)


@task(auto_shortflags=False, help=options())
def releases(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show which releases there are, and where rollback goes."""
    from aideploy.commands.releases import releases as ask
    from aideploy.report.choose import Shown

    with command(c, "releases", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(ask(run), json=json)


@task(
    auto_shortflags=False,
    help=options(
        lines="show at most so many lines of each host (100)",
        grep="show only lines in which this regular expression is found",
        since="show only what was written since: 10m, 2h, or a time or day (UTC)",
        level="show only what says that it is this bad: debug, info, warning, error, critical",
        slot="live, or staged: where a release is proven, and the old one stands by",
        follow="go on showing what comes, until Ctrl-C",
    ),
)
def logs(
    c: Context,
    lines: str = "100",
    grep: str | None = None,
    since: str | None = None,
    level: str | None = None,
    slot: str = "live",
    follow: bool = False,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show what the service wrote last on every host.

    In the order of time. A filter looks through the last 1000 lines of each host.
    """
    from aideploy.commands import logs as reading
    from aideploy.report.choose import Shown
    from aideploy.report.service_log import wanted

    with command(c, "logs", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        count = whole_number("--lines", lines, most=reading.MOST_LINES)
        want = wanted(grep, since, level)
        if follow:
            reading.follow(run, _slot(slot), count, want)
        else:
            show_facts(reading.logs(run, _slot(slot), count, want), json=json)


@task(auto_shortflags=False, help=options())
def check(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Check everything that a deploy needs, and change nothing."""
    from aideploy.commands.check import check as ask
    from aideploy.report.choose import Shown

    with command(c, "check", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(ask(run), json=json)


@task(auto_shortflags=False, help=options())
def diagnose(
    c: Context,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Say what is wrong, the likeliest cause first."""
    from aideploy.commands.diagnose import diagnose as ask
    from aideploy.report.choose import Shown

    with command(c, "diagnose", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(ask(run), json=json)


@task(
    auto_shortflags=False,
    help=options(
        revision="the branch, tag or commit (default: [app] branch)",
        scripts="show the scripts, too, as they would run",
    ),
)
def plan(
    c: Context,
    revision: str | None = None,
    scripts: bool = False,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
    json: bool = False,
) -> None:
    """Show what a deploy would do, and change nothing."""
    show_plan(c, revision, scripts=scripts, env=env, config=config, only=only, json=json)


def show_plan(
    c: Context,
    revision: str | None,
    *,
    scripts: bool,
    env: str | None,
    config: str | None,
    only: str | None,
    json: bool,
) -> None:
    """Show the plan of a deploy: `fab plan` and `fab deploy --dry-run`."""
    from aideploy.commands.plan import plan as ask
    from aideploy.report.choose import Shown

    with command(c, "plan", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        show_facts(ask(run, revision, scripts=scripts), json=json)


def _slot(text: str) -> Place:
    from aideploy.errors import UsageError
    from aideploy.services.manager import Place

    try:
        return Place(text)
    except ValueError:
        choice = " or ".join(Place)
        raise UsageError(f"--slot takes {choice}, not {text!r}") from None


def show_facts(facts: Facts, *, json: bool) -> None:
    """Print what a command found, for people or as JSON."""
    import os

    from aideploy.report.facts import print_json, show

    if json:
        print_json(facts)
    else:
        show(facts, os.environ)
