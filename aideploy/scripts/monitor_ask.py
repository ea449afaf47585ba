"""Ask the Prometheus and the Alertmanager of this host what they have loaded.

Runs on monitor hosts (Python 3.8 or later, standard library only), from monitor_look.sh and
monitor_push.sh. Standard input: JSON, for each of both the value of its Authorization header.

    monitor_ask.py look PROMETHEUS ALERTMANAGER
        prints JSON: for each of both whether it answers, whether its last reload went well and
        when it last did; of Prometheus the rule files and what it could not read
    monitor_ask.py reload PROMETHEUS|ALERTMANAGER URL
        asks it to read its files again, where it may be asked that
    monitor_ask.py loaded prometheus|alertmanager URL SINCE FILE...
        waits until it has read its files since then, and has these rule files

Exit status 1: it is not so; the last line says why.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from typing import Any

ANSWER_SECONDS = 10
WAIT_SECONDS = 20.0
PAUSE_SECONDS = 0.2


class Unanswered(Exception):
    """It cannot be asked; the message says why."""


def ask(url: str, authorization: str | None, *, post: bool = False) -> str:
    request = urllib.request.Request(url, data=b"" if post else None)  # noqa: S310  # http(s) only
    if authorization:
        request.add_header("Authorization", authorization)
    # It is on this very host: no proxy stands in between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read(), "utf-8", "replace")
    except urllib.error.HTTPError as error:
        raise Unanswered(f"{url} answers {error.code}") from None
    except (OSError, ValueError) as error:
        raise Unanswered(f"{url}: {getattr(error, 'reason', error)}") from None


def gauge(text: str, name: str) -> float:
    """Return the value of a metric without labels; 0 where there is none."""
    for line in text.splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return 0.0


def state(kind: str, url: str, authorization: str | None) -> dict[str, Any]:
    """Return what it says of itself."""
    try:
        metrics = ask(url + "/metrics", authorization)
        found: dict[str, Any] = {
            "answers": True,
            "well": gauge(metrics, kind + "_config_last_reload_successful") == 1,
            "since": gauge(metrics, kind + "_config_last_reload_success_timestamp_seconds"),
            "files": [],
        }
        if kind == "prometheus":
            said = json.loads(ask(url + "/api/v1/rules", authorization))
            found["files"] = sorted({group["file"] for group in said["data"]["groups"]})
        return found
    except (Unanswered, ValueError, KeyError, TypeError) as error:
        return {"answers": False, "well": False, "since": 0.0, "files": [], "why": str(error)}


def loaded(kind: str, url: str, authorization: str | None, since: float, files: list[str]) -> str:
    """Wait until it has read its files; return why it has not, or nothing."""
    began = state(kind, url, authorization)
    end = time.monotonic() + WAIT_SECONDS
    why = ""
    while time.monotonic() < end:
        now = state(kind, url, authorization)
        missing = [file for file in files if file not in now["files"]]
        if not now["answers"]:
            why = f"it does not answer: {now.get('why', '')}"
        elif not now["well"]:
            why = "it refuses its configuration; its log says why"
            if began["well"]:
                return why
        elif now["since"] < since:
            why = "it did not read its configuration again"
        elif missing:
            why = f"it does not read {', '.join(missing)}"
        else:
            return ""
        time.sleep(PAUSE_SECONDS)
    return why


def main() -> None:
    given = json.load(sys.stdin)
    what, first, *words = sys.argv[1:]
    if what == "look":
        urls = {"prometheus": first, "alertmanager": words[0]}
        found = {kind: state(kind, url, given.get(kind)) for kind, url in urls.items() if url}
        print(json.dumps(found))
    elif what == "reload":
        try:
            ask(words[0] + "/-/reload", given.get(first), post=True)
        except Unanswered as error:
            sys.exit(str(error))
    elif what == "loaded":
        why = loaded(first, words[0], given.get(first), float(words[1]), words[2:])
        if why:
            sys.exit(why)


main()
