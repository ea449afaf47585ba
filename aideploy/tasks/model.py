"""The collection `model`: what is known of the model of a release."""

from __future__ import annotations

from fabric import task
from invoke.context import Context

from aideploy.tasks.common import OPTIONS, RELEASE, command


@task(
    auto_shortflags=False,
    help={
        "release": RELEASE,
        "out": "write it to this file (default: to the screen)",
        **{name: OPTIONS[name] for name in ("env", "config", "only")},
    },
)
def card(
    c: Context,
    release: str = "current",
    out: str | None = None,
    env: str | None = None,
    config: str | None = None,
    only: str | None = None,
) -> None:
    """Show the model card of a release, as Markdown.

    What the model is, what it was made from, how it was judged and by whom; also of a release that
    was pruned. Each release on the hosts has its own in .aideploy/model_card.md.
    """
    import sys
    from pathlib import Path

    from aideploy.commands.model_card import model_card, write_card
    from aideploy.report.choose import Shown
    from aideploy.report.output import Output

    with command(c, "model.card", env=env, config=config, only=only, shown=Shown.NOTHING) as run:
        text = model_card(run, release)
        if out is None:
            Output(sys.stdout).line(text.rstrip("\n"))
        else:
            write_card(Path(out).expanduser(), text)
            Output(sys.stderr).line(f"{out} holds the card")
