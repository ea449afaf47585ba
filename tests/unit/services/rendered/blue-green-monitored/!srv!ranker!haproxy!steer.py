# managed by aideploy from templates/haproxy/steer.py; changes will be overwritten
"""Tell the HAProxy of an app which slot is live, and ask what is under way.

Runs on the hosts (Python 3.8 or later, standard library only), after each start of HAProxy and from
the scripts of a deploy:

    steer.py ROOT settle                HAProxy does what the disk says: see `duties`
    steer.py ROOT weight SLOT PERCENT   that slot gets so many of 100 requests, the other the rest
    steer.py ROOT drain SLOT SECONDS    wait until nothing is under way there, at most so long

Exit status 1: HAProxy does not answer, or refuses; the last line says why. All that is said takes
effect without a reload. A weight lasts no longer than HAProxy itself: after a start or a reload the
live slot gets everything, as the disk says.
"""

import csv
import os
import socket
import sys
import time
from pathlib import Path

SLOTS = ("blue", "green")
ANSWER_SECONDS = 5.0
# Just started, it may not listen yet.
START_SECONDS = 5.0


class Refused(Exception):
    """HAProxy did not do what it was told."""


def duties(root):
    """Return for each slot what it has to do: "live", "standby" or "off".

    Live is the slot whose release `current` points to. Of the others, those with the file `on` run
    and stand by; one without is being proven, or is about to be stopped.
    """
    live = next((slot for slot in SLOTS if is_live(root, slot)), None)
    return {
        slot: "live" if slot == live else "standby" if is_on(root, slot) else "off"
        for slot in SLOTS
    }


def is_live(root, slot):
    try:
        return (root / "slots" / slot / "release").samefile(root / "current")
    except OSError:
        return False


def is_on(root, slot):
    return (root / "slots" / slot / "on").exists()


def settling(slot, duty):
    """Return what HAProxy is told of the two lines of a slot: for users, and to stand by."""
    itself, standby = {
        "live": ("ready", "maint"),
        "standby": ("drain", "ready"),
        "off": ("maint", "maint"),
    }[duty]
    return [
        f"set server app/{slot} weight 100%",
        f"set server app/{slot} state {itself}",
        f"set server app/{slot}_standby state {standby}",
    ]


def sharing(slot, percent):
    """Return what HAProxy is told so that `slot` gets `percent` of 100 requests."""
    other = SLOTS[1 - SLOTS.index(slot)]
    commands = []
    for name, share in ((slot, percent), (other, 100 - percent)):
        commands += [
            f"set server app/{name} weight {share}%",
            f"set server app/{name} state {'ready' if share else 'drain'}",
        ]
    return commands


def tell(root, commands):
    """Tell HAProxy all of it at once."""
    # Who becomes ready is told first, so that at no moment nobody is.
    commands = sorted(commands, key=lambda command: not command.endswith((" ready", "%")))
    said = ask(root, "; ".join(commands)).strip()
    if said:
        raise Refused(f"HAProxy says: {said}")


def keep_state(root):
    """Let the next reload begin as it is now."""
    new = root / "haproxy" / f"state.{os.getpid()}"
    new.write_text(ask(root, "show servers state"))
    new.chmod(0o644)
    new.replace(root / "haproxy" / "state")


def under_way(root, slot):
    """Return how many requests and connections of users a slot is busy with."""
    rows = csv.DictReader(ask(root, "show stat app 4 -1").lstrip("# ").splitlines())
    return sum(int(row["scur"]) for row in rows if row["svname"] in (slot, f"{slot}_standby"))


def drain(root, slot, seconds):
    end = time.monotonic() + seconds
    while under_way(root, slot) and time.monotonic() < end:
        time.sleep(0.1)


def ask(root, command):
    """Return what HAProxy answers to one line."""
    # By its short name: a path of a socket is limited to about a hundred letters.
    os.chdir(root / "haproxy")
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_SECONDS)
        connect(line)
        line.sendall(command.encode() + b"\n")
        parts = []
        while True:
            part = line.recv(1 << 16)
            if not part:
                return b"".join(parts).decode()
            parts.append(part)


def connect(line):
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            return line.connect("admin.sock")
        except OSError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.05)


def main():
    root, (what, *words) = Path(sys.argv[1]), sys.argv[2:]
    try:
        if what == "settle":
            commands = [
                command for slot, duty in duties(root).items() for command in settling(slot, duty)
            ]
            tell(root, commands)
            keep_state(root)
        elif what == "weight":
            tell(root, sharing(words[0], int(words[1])))
        elif what == "drain":
            drain(root, words[0], float(words[1]))
    except (OSError, Refused) as error:
        sys.exit(f"{error}")


main()
