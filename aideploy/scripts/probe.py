"""Ask a service on this host whether it is well, again and again.

Runs on the hosts, by their Python (3.8 or later, standard library only):

    python3 -c "$(cat probe.py)" REQUEST [PID]

REQUEST is JSON: host, port and path, status, fields (name -> value that the JSON answer must hold),
command (asked instead; it gets the address as BIND and PORT), timeout and interval in seconds,
steady, until. Without a host it is put to the address that BIND and PORT name in our environment.
Not steady: until the service is well, at most `timeout`. Steady: for `timeout` long, or until there
is a file `until`, it must stay well; two bad answers in a row end it. PID is the service's main
process: when it is gone there is nothing to wait for.

The last line that it prints is the result in words. Exit status 0: well.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_SECONDS = 5.0
MOST_BYTES = 1 << 20
TOLERATED = 1
WANTED_SECONDS = 0.5


def ask_url(request: dict[str, Any]) -> str | None:
    """Return None when the answer is right, otherwise what is wrong with it."""
    url = url_of(request)
    try:
        head, body = get(request["host"], request["port"], request["path"])
    except ConnectionRefusedError:
        return (
            f"nothing listens on {request['host']}:{request['port']} (does the command use $PORT?)"
        )
    except OSError as error:
        return f"no answer from {url}: {error or type(error).__name__}"
    lines = head.decode("latin-1").splitlines()
    words = lines[0].split(None, 2) if lines else []
    if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
        return f"{url} does not speak HTTP: {head[:80]!r}"
    if int(words[1]) != request["status"]:
        moved = header(lines, "location")
        where = ", a redirect to " + moved if moved else ""
        return f"{url} answered {words[1]}{where}, expected {request['status']}"
    return wrong_fields(request, url, body)


def url_of(request: dict[str, Any]) -> str:
    host = request["host"]
    place = f"[{host}]" if ":" in host else host
    return f"http://{place}:{request['port']}{request['path']}"


def get(host: str, port: int, path: str) -> tuple[bytes, bytes]:
    """Return the head and the body of the answer.

    By hand: importing http.client takes longer than the service takes to answer, on every host at
    once. The request is HTTP/1.0, so that the answer ends with the connection and is in one piece
    (RFC 9112, sections 6.3 and 7.1); a server that keeps the line open says how long its answer is.
    """
    where = f"[{host}]" if ":" in host else host
    deadline = time.monotonic() + ANSWER_SECONDS
    with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {where}:{port}\r\n\r\n".encode())
        answer = b""
        while len(answer) < MOST_BYTES:
            # The whole answer has to be there in time; a socket's own timeout is about each part.
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not all of it came within {ANSWER_SECONDS:g} s")
            connection.settimeout(left)
            part = connection.recv(1 << 16)
            if not part:
                break
            answer += part
            head, end, body = answer.partition(b"\r\n\r\n")
            length = header(head.decode("latin-1").splitlines(), "content-length") if end else ""
            if length.isdigit() and len(body) >= int(length):
                break
    head, end, body = answer.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/") and not end:
        raise OSError("its headers do not end")
    return head, body


def header(lines: list[str], name: str) -> str:
    """Return the value of a header, or nothing."""
    for line in lines[1:]:
        key, _, value = line.partition(":")
        if key.strip().lower() == name:
            return value.strip()
    return ""


def wrong_fields(request: dict[str, Any], url: str, body: bytes) -> str | None:
    if not request["fields"]:
        return None
    try:
        found = json.loads(body.decode("utf-8", "replace"))
    except ValueError:
        return f"{url} answered with something that is not JSON: {body[:80]!r}"
    for name, expected in request["fields"].items():
        value = found.get(name) if isinstance(found, dict) else None
        if value != expected:
            return f"{url} says {name} = {value!r}, expected {expected!r}"
    return None


def ask_command(request: dict[str, Any]) -> str | None:
    import subprocess

    try:
        done = subprocess.run(
            ["bash", "-c", request["command"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "BIND": request["host"], "PORT": str(request["port"])},
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
    return not pid or os.path.exists(f"/proc/{pid}")


def is_wanted(request: dict[str, Any]) -> bool:
    """Return whether somebody left the file that the watching ends for."""
    return bool(request.get("until")) and os.path.exists(request["until"])


def rest(seconds: float, request: dict[str, Any]) -> None:
    end = time.monotonic() + max(0.01, seconds)
    while time.monotonic() < end and not is_wanted(request):
        time.sleep(max(0.0, min(WANTED_SECONDS, end - time.monotonic())))


def main() -> int:
    request = json.loads(sys.argv[1])
    if not request["host"]:
        # It is for a slot, whose address is in our environment.
        request["host"], request["port"] = os.environ["BIND"], int(os.environ["PORT"])
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
            if (took >= request["timeout"] or is_wanted(request)) and not bad:
                print(f"healthy for {took:.0f} s, asked {asked} times")
                return 0
        # A fresh service is asked more often: most are ready long before the interval.
        wait = request["interval"] if request["steady"] else min(request["interval"], 0.05 * asked)
        rest(wait, request)


sys.exit(main())
