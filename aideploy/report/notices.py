"""Tells a webhook or Slack how a command ended.

A reader of events. It speaks when all is over, for a few seconds at most, and whatever goes wrong
with it is a warning: a notice never fails a command. The URLs are secrets, and never shown whole.

Sources: Slack's documentation, "Sending messages using incoming webhooks" and "Formatting message
text"; the document of the webhook is our own (docs/notices.md).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from aideploy.errors import AideployError, ExitStatus, SettingsError
from aideploy.events import (
    Event,
    Events,
    HostFinished,
    Notice,
    Phase,
    ReleaseKnown,
    RunFinished,
)
from aideploy.settings.notify import Occasion
from aideploy.settings.secrets import find

if TYPE_CHECKING:
    from aideploy.running import Run
    from aideploy.settings import Settings

VERSION = 1
# A command waits no longer than that, whatever the other side does.
PATIENCE_SECONDS = 5.0
_ATTEMPT_SECONDS = 2.0
_PAUSE_SECONDS = 0.3
_ATTEMPTS = 2
_LONGEST_TEXT = 2500
_MOST_FAILURES = 10


def send_notices(run: Run) -> None:
    """Let those whom [notify] names hear how this command ends."""
    how = run.settings.notify
    if how is None:
        return
    try:
        addresses = addresses_of(run.settings, os.environ)
    except AideployError as error:
        _warn(run.events, f"{error.what}: {error.why}" if error.why else error.what)
        return
    about = {
        "command": run.command,
        "app": run.settings.app.name,
        "environment": run.settings.environment,
        "who": run.who,
    }
    run.events.subscribe_first(Notices(addresses, frozenset(how.on), about, run.events))


def addresses_of(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the URLs by the keys of [notify]; none where there is no such table.

    Raises:
        SettingsError: a secret has no value, or holds something that is no URL.
    """
    how = settings.notify
    if how is None:
        return {}
    values = find(how.secrets, settings.serve, environ, settings.path.parent)
    named = {"webhook": how.webhook, "slack": how.slack}
    urls = {key: values.get(one, one).strip() for key, one in named.items() if one}
    for key, url in urls.items():
        if not url.startswith(("https://", "http://")):
            raise SettingsError(
                f"the value of {named[key]} is no URL",
                next_step="set it to a URL that starts with https://",
            )
    return urls


class Notices:
    """Waits for the end of a command, and tells of it.

    Args:
        addresses: the URLs, by "webhook" and "slack".
        on: what is told.
        about: what is known of the command from its beginning.
        events: where warnings go.
    """

    def __init__(
        self,
        addresses: Mapping[str, str],
        on: frozenset[Occasion],
        about: Mapping[str, str],
        events: Events,
    ) -> None:
        self._addresses = addresses
        self._on = on
        self._about = about
        self._events = events
        self._release: ReleaseKnown | None = None
        self._went_back = False

    def __call__(self, event: Event) -> None:
        match event:
            case ReleaseKnown():
                self._release = event
            case HostFinished(phase=Phase.REVERT):
                self._went_back = True
            case RunFinished():
                self._end(event)

    def _end(self, finished: RunFinished) -> None:
        occasion = occasion_of(finished.status, self._about["command"], self._went_back)
        if occasion not in self._on:
            return
        told = document(occasion, finished, self._about, self._release)
        bodies = {"webhook": told, "slack": message(told)}
        results: dict[str, str] = {}
        threads = [
            threading.Thread(
                target=lambda key=key, url=url: results.update({key: post(url, bodies[key])}),
                daemon=True,
            )
            for key, url in self._addresses.items()
        ]
        end = time.monotonic() + PATIENCE_SECONDS
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(max(0.0, end - time.monotonic()))
        except KeyboardInterrupt:
            # All else is over: the last word is still to be said.
            pass
        for key, url in self._addresses.items():
            if wrong := results.get(key, f"{shown(url)} did not answer in time"):
                _warn(self._events, wrong)


def occasion_of(status: int, command: str, went_back: bool) -> Occasion:
    """Return what became of a command.

    Args:
        status: its exit status.
        command: its name.
        went_back: whether a host went back to what it served before.
    """
    if status == ExitStatus.HELD:
        return Occasion.HELD
    if status == ExitStatus.DONE:
        back = command in ("rollback", "rollout.abort")
        return Occasion.ROLLBACK if back else Occasion.SUCCESS
    if status == ExitStatus.ROLLED_BACK and went_back:
        return Occasion.ROLLBACK
    return Occasion.FAILURE


def document(
    occasion: Occasion,
    finished: RunFinished,
    about: Mapping[str, str],
    release: ReleaseKnown | None,
) -> dict[str, Any]:
    """Return what the webhook gets, as docs/notices.md describes it."""
    return {
        "version": VERSION,
        "event": str(occasion),
        **about,
        "status": int(finished.status),
        "headline": finished.headline,
        "release": release.release if release else None,
        "revision": release.revision if release else None,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": round(finished.seconds, 1),
        "hosts": [
            {"host": one.host, "state": one.state, "release": one.release, "healthy": one.healthy}
            for one in finished.hosts
        ],
        "failures": [
            {"host": one.host, "phase": one.phase, "what": one.what}
            for one in finished.failures[:_MOST_FAILURES]
        ],
        "next_step": finished.next_step,
    }


def message(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same for Slack, as plain text: nothing in it calls anybody, or is a link."""
    lines = [
        f"{told['app']} in {told['environment']}: {told['event']}: {told['headline']}",
        *(
            f"{one['host'] or 'here'} ({one['phase'] or told['command']}): {one['what']}"
            for one in told["failures"]
        ),
        f"{told['command']} by {told['who']}, {told['seconds']:g} s, exit status {told['status']}",
        *([f"next: {told['next_step']}"] if told["next_step"] else []),
    ]
    text = "\n".join(lines)[:_LONGEST_TEXT]
    for sign, code in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, code)
    return {"text": text, "mrkdwn": False}


def post(url: str, body: Mapping[str, Any]) -> str:
    """Send it, once more where the first attempt failed; what went wrong, or nothing."""
    import httpx

    wrong = ""
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(_PAUSE_SECONDS)
        try:
            answer = httpx.post(
                url, json=body, timeout=_ATTEMPT_SECONDS, headers={"User-Agent": "aideploy"}
            )
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # What it says may hold the URL.
            wrong = f"{shown(url)} cannot be reached ({type(error).__name__})"
            continue
        if answer.is_success:
            return ""
        wrong = f"{shown(url)} answered {answer.status_code}"
        if answer.status_code < 500 and answer.status_code != 429:
            break
    return wrong


def shown(url: str) -> str:
    """Return as much of a URL as may be seen."""
    try:
        return f"{urlsplit(url).scheme}://{urlsplit(url).hostname}/…"
    except ValueError:
        return "the URL"


def _warn(events: Events, why: str) -> None:
    events.publish(Notice(text=f"[notify] told nobody: {why}", level="warning"))
