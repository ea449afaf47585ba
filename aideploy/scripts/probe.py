"""Ask a service on this host whether it is well, again and again.

Runs on the hosts, by their Python (3.8 or later, standard library only):

    python3 -c "$(cat probe.py)" REQUEST [PID]

REQUEST is JSON: url, status, fields (name -> value that the JSON answer must hold), command (asked instead
of the url), timeout and interval in seconds, steady. Not steady: until the service is well, at most `timeout`.
Steady: for `timeout` long it must stay well; two bad answers in a row end it. PID is the
service's main process: when it is gone there is nothing to wait for.

The last line that it prints is the result in words. Exit status 0: well.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from typing import Any

ANSWER_SECONDS = 5.0
TOLERATED = 1


def too_slow(*_: object) -> None:
    raise TimeoutError(f"not all of it came within {ANSWER_SECONDS:g} s")


def ask_url(request: dict[str, Any]) -> str | None:
    """Return None when the answer is right, otherwise what is wrong with it."""
    url = urllib.parse.urlsplit(request["url"])
    connection = http.client.HTTPConnection(url.hostname, url.port)
    # The whole answer has to be there in time; a timeout of the socket is about each byte.
    signal.setitimer(signal.ITIMER_REAL, ANSWER_SECONDS)
    try:
        connection.request("GET", url.path + ("?" + url.query if url.query else ""))
        answer = connection.getresponse()
        body = answer.read(1 << 20)
    except ConnectionRefusedError:
        return f"nothing listens on {url.hostname}:{url.port} (does the command use $PORT?)"
    except OSError as error:
        return f"no answer from {request['url']}: {error or type(error).__name__}"
    except http.client.HTTPException as error:
        return f"{request['url']} does not speak HTTP: {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.close()
    if answer.status != request["status"]:
        moved = answer.headers.get("Location")
        where = ", a redirect to " + moved if moved else ""
        return f"{request['url']} answered {answer.status}{where}, expected {request['status']}"
    return wrong_fields(request, body)


def wrong_fields(request: dict[str, Any], body: bytes) -> str | None:
    if not request["fields"]:
        return None
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        return f"{request['url']} answered with something that is not JSON: {body[:80]!r}"
    for name, expected in request["fields"].items():
        value = found.get(name) if isinstance(found, dict) else None
        if value != expected:
            return f"{request['url']} says {name} = {value!r}, expected {expected!r}"
    return None


def ask_command(request: dict[str, Any]) -> str | None:
    try:
        done = subprocess.run(
            ["bash", "-c", request["command"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=max(ANSWER_SECONDS, request["interval"]),
        )
    except subprocess.TimeoutExpired:
        return "the health command did not end in time"
    if done.returncode == 0:
        return None
    last = done.stdout.decode("utf-8", "replace").strip().splitlines()[-1:]
    said = ": " + last[0] if last else ""
    return f"the health command ended with status {done.returncode}{said}"


def alive(pid: str) -> bool:
    return not pid or os.path.exists(f"/proc/{pid}")  # noqa: PTH110


def main() -> int:
    request = json.loads(sys.argv[1])
    signal.signal(signal.SIGALRM, too_slow)
    pid = sys.argv[2] if len(sys.argv) > 2 else ""
    ask = ask_command if request.get("command") else ask_url
    began = time.monotonic()
    bad = asked = 0
    while True:
        asked += 1
        wrong = ask(request)
        took = time.monotonic() - began
        if not alive(pid):
            print(f"the service ended {took:.1f} s after its start")
            return 1
        bad = bad + 1 if wrong else 0
        if not request["steady"]:
            if not wrong:
                print(f"healthy after {took:.1f} s")
                return 0
            if took >= request["timeout"]:
                print(f"not healthy after {took:.0f} s: {wrong}")
                return 1
        else:
            if bad > TOLERATED:
                print(f"no longer healthy after {took:.1f} s: {wrong}")
                return 1
            if took >= request["timeout"] and not bad:
                print(f"healthy for {took:.0f} s, asked {asked} times")
                return 0
        # A fresh service is asked more often: most are ready long before the interval.
        wait = request["interval"] if request["steady"] else min(request["interval"], 0.05 * asked)
        time.sleep(max(0.01, wait))


sys.exit(main())
