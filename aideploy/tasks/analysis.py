"""The collection `analysis`: what Prometheus says of one side against another."""

from __future__ import annotations

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import OPTIONS, on_this_machine, read_settings


@task(
    auto_shortflags=False,
    help={
        "canary": "the label matchers of the one side, as 'host=\"h1\"'",
        "baseline": "those of the other one; without it only absolute limits are judged",
        "last": "look at what was until now, for so long (10m)",
        **{name: OPTIONS[name] for name in ("env", "config", "json")},
    },
)
def run(
    c: Context,
    canary: str,
    baseline: str = "",
    last: str = "10m",
    env: str | None = None,
    config: str | None = None,
    json: bool = False,
) -> None:
    """Judge any two sides by [[analysis]], as a rollout would.

    Asks Prometheus and no host; ends with 3 where a check does not pass.
    """
    from aideploy.commands.analysis import analyse, not_passed
    from aideploy.errors import UsageError
    from aideploy.settings.values import duration
    from aideploy.tasks.looking import show_facts

    settings = read_settings(c, "analysis.run", env=env, config=config, only=None)
    with on_this_machine(c, "analysis.run"):
        try:
            length = duration(last)
        except ValueError as error:
            raise UsageError(f"--last takes {error}, not {last!r}") from None
        found = analyse(settings, canary, baseline, length)
        show_facts(found, json=json)
        if failed := not_passed(found):
            raise failed
