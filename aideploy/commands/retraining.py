"""`fab train.listen` and `fab train.schedule`: trainings that no person starts."""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aideploy.errors import HostNotReady, UsageError
from aideploy.monitoring.naming import name_of, old_name_of
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
    name = f"aideploy-retrain-{name_of(settings)}"
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
        old = f"aideploy-retrain-{old_name_of(settings)}"
        gone = _remove_old(places, old, files[f"{name}.service"])
    except OSError as error:
        raise HostNotReady(
            f"cannot write {error.filename}: {error.strerror}",
            next_step="fab train.schedule without --write prints what belongs there",
        ) from error
    if gone:
        # One that runs is there until it is told to end, whatever became of its file.
        begin = f"systemctl --user stop {old}.timer; {begin}"
    return (
        *(f"wrote {places / file}" for file in files),
        *(f"removed {path}" for path in gone),
        f"Next: {begin}",
        stay,
    )


def _remove_old(places: Path, old: str, service: str) -> tuple[Path, ...]:
    """Remove the units that version 0.1 wrote under its name for the same app and environment.

    Those of `a` in `b-c` had the name of those of `a-b` in `c`: what the old service says of itself
    has to be what the new one says.

    Args:
        places: the folder of the units.
        old: the name of both, without its ending.
        service: the text of the new service.

    Returns:
        what was removed.

    Raises:
        OSError: it cannot be.
    """
    try:
        found = (places / f"{old}.service").read_text()
    except FileNotFoundError:
        return ()
    if _whose(found) != _whose(service):
        return ()
    # What enables it is a link beside the units.
    links = (places / "timers.target.wants" / f"{old}.timer",)
    units = (places / f"{old}.timer", places / f"{old}.service")
    gone = tuple(path for path in (*links, *units) if path.is_symlink() or path.exists())
    for path in gone:
        path.unlink()
    return gone


def _whose(service: str) -> tuple[str, ...]:
    """Return the lines of a service that say of which app and environment it is, and where."""
    own = ("Description=", "WorkingDirectory=")
    return tuple(line for line in service.splitlines() if line.startswith(own))


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
