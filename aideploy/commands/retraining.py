"""`fab train.listen` and `fab train.schedule`: trainings that no person starts."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aideploy.errors import HostNotReady, UsageError
from aideploy.rendering import render
from aideploy.report.output import Output
from aideploy.retraining.alerts import Wanted
from aideploy.retraining.deploys import Deploys
from aideploy.retraining.listener import PATH, Listener
from aideploy.running import stopped_by_signals
from aideploy.settings import Settings
from aideploy.settings.secrets import find
from aideploy.settings.train import Train


def listen(
    settings: Settings,
    *,
    bind: str,
    port: int,
    token: str,
    pause: timedelta,
    config: str | None,
) -> None:
    """Deploy what is new whenever an alert asks for it, until Ctrl-C or SIGTERM.

    Args:
        settings: of the environment.
        bind, port: what to listen on.
        token: the name of the secret that callers have to know.
        pause: so long after the end of a deploy alerts start none.
        config: the settings file, as typed.

    Raises:
        UsageError: nothing is trained.
        SettingsError: the token has no value.
        HostNotReady: the address is taken.
    """
    _trained(settings)
    value = find((token,), settings.serve, os.environ, settings.path.parent)[token].strip()
    deploys = Deploys(deploy_command(settings, config), Path.cwd(), pause, _say)
    wanted = Wanted(settings.app.name, settings.environment)
    with Listener((bind, port), value, wanted, deploys, _say) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        _say(f"listening on http://{bind}:{server.server_address[1]}{PATH}")
        try:
            with stopped_by_signals():
                serving.join()
        finally:
            server.shutdown()
            deploys.close()


def schedule(settings: Settings, *, write: bool, config: str | None) -> tuple[str, ...]:
    """Make the timer that deploys what is new, for the systemd of whoever deploys.

    Args:
        settings: of the environment.
        write: put the units in place; else they are printed.
        config: the settings file, as typed.

    Returns:
        what a person has to know: paths, and what to type next.

    Raises:
        UsageError: nothing is trained, or there is no `schedule`.
        HostNotReady: they cannot be written.
    """
    train = _trained(settings)
    if train.schedule is None:
        raise UsageError(
            "hosts.toml does not say how often to train",
            next_step='write it: [train] schedule = "1h"',
        )
    name = f"aideploy-retrain-{settings.app.name}-{settings.environment}"
    values = {
        "app": settings.app.name,
        "environment": settings.environment,
        "folder": Path.cwd(),
        "command": deploy_command(settings, config),
        "path": os.environ.get("PATH", os.defpath),
        "seconds": max(1, round(train.schedule.total_seconds())),
    }
    files = {
        f"{name}.{kind}": render(f"systemd/retrain.{kind}.j2", values, folder=settings.path.parent)
        for kind in ("service", "timer")
    }
    places = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"
    begin = f"systemctl --user daemon-reload && systemctl --user enable --now {name}.timer"
    stay = "so that it runs while you are logged out: loginctl enable-linger"
    if not write:
        shown = (f"# {places / file}\n{text}" for file, text in files.items())
        return (*shown, f"# --write puts them there; then: {begin}\n# {stay}")
    try:
        places.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (places / file).write_text(text)
    except OSError as error:
        raise HostNotReady(
            f"cannot write {error.filename}: {error.strerror}",
            next_step="fab train.schedule without --write prints what belongs there",
        ) from error
    return (*(f"wrote {places / file}" for file in files), f"Next: {begin}", stay)


def deploy_command(settings: Settings, config: str | None) -> list[str]:
    """Return the words that deploy what is new, and ask nobody."""
    named = ["--config", str(Path(config).absolute())] if config else []
    options = ["--env", settings.environment, *named, "--if-new", "--wait-lock", "--yes"]
    return [sys.executable, "-m", "fabric", "deploy", *options]


def _trained(settings: Settings) -> Train:
    if settings.train is None:
        raise UsageError("there is nothing to train", next_step="write a [train] table")
    return settings.train


def _say(words: str) -> None:
    Output(sys.stdout).line(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {words}")
