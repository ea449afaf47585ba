"""Ask a service on this host whether it is well, again and again.

Runs on the hosts, by their Python (3.8 or later, standard library only):

    python3 -c "$(cat probe.py)" REQUEST [PID]

REQUEST is JSON: url, status, fields (name -> value that the JSON answer must hold), command (asked instead
of the url), timeout and interval in seconds, steady. Not steady: until the service is well, at most `timeout`.
Steady: for `timeout` long it must stay well; two bad answers in a row end it. PID is the
service's main process: when it is gone there is nothing to wait for.

The last line that it prints is the result in words. Exit status 0: well.
"""

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.parse

ANSWER_SECONDS = 5.0
TOLERATED = 1


def ask_url(request):
    """Return None when the answer is right, otherwise what is wrong with it."""
    url = urllib.parse.urlsplit(request["url"])
    connection = http.client.HTTPConnection(url.hostname, url.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", url.path + ("?" + url.query if url.query else ""))
        answer = connection.getresponse()
        body = answer.read(1 << 20)
    except ConnectionRefusedError:
        return "nothing listens on %s:%s (does the command use $PORT?)" % (url.hostname, url.port)
    except OSError as error:
        return "no answer from %s: %s" % (request["url"], error or type(error).__name__)
    except http.client.HTTPException as error:
        return "%s does not speak HTTP: %r" % (request["url"], error)
    finally:
        connection.close()
    if answer.status != request["status"]:
        moved = answer.headers.get("Location")
        where = ", a redirect to " + moved if moved else ""
        return "%s answered %d%s, expected %d" % (
            request["url"],
            answer.status,
            where,
            request["status"],
        )
    return wrong_fields(request, body)


def wrong_fields(request, body):
    if not request["fields"]:
        return None
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        return "%s answered with something that is not JSON: %r" % (request["url"], body[:80])
    for name, expected in request["fields"].items():
        value = found.get(name) if isinstance(found, dict) else None
        if value != expected:
            return "%s says %s = %r, expected %r" % (request["url"], name, value, expected)
    return None


def ask_command(request):
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
    return "the health command ended with status %d%s" % (
        done.returncode,
        ": " + last[0] if last else "",
    )


def alive(pid):
    return not pid or os.path.exists("/proc/%s" % pid)


def main():
    request = json.loads(sys.argv[1])
    pid = sys.argv[2] if len(sys.argv) > 2 else ""
    ask = ask_command if request.get("command") else ask_url
    began = time.monotonic()
    bad = asked = 0
    while True:
        asked += 1
        wrong = ask(request)
        took = time.monotonic() - began
        if not alive(pid):
            print("the service ended %.1f s after its start" % took)
            return 1
        bad = bad + 1 if wrong else 0
        if not request["steady"]:
            if not wrong:
                print("healthy after %.1f s" % took)
                return 0
            if took >= request["timeout"]:
                print("not healthy after %.0f s: %s" % (took, wrong))
                return 1
        else:
            if bad > TOLERATED:
                print("no longer healthy after %.1f s: %s" % (took, wrong))
                return 1
            if took >= request["timeout"] and not bad:
                print("healthy for %.0f s, asked %d times" % (took, asked))
                return 0
        # A fresh service is asked more often: most are ready long before the interval.
        wait = request["interval"] if request["steady"] else min(request["interval"], 0.05 * asked)
        time.sleep(max(0.01, wait))


sys.exit(main())
