# {{ managed }}
"""Tell the HAProxy of an app which slot is live, and ask what is under way.

Runs on the hosts (Python 3.8 or later, standard library only), after each start of HAProxy and from
the scripts of a deploy:

    steer.py ROOT settle                HAProxy does what the disk says: see `duties`
    steer.py ROOT start                 the same after a start of HAProxy: a share is given again
    steer.py ROOT weight SLOT PERCENT   that slot gets so many of 100 requests, the other the rest
    steer.py ROOT drain SLOT SECONDS    wait until nothing is under way there, at most so long

Exit status 1: HAProxy does not answer, or refuses; the last line says why. All that is said takes
effect without a reload. A weight outlives a reload and a restart of HAProxy, and ends with the next
`settle`; a host that starts again gives the live slot everything.
"""

import contextlib
import csv
import os
import socket
import sys
import time
from pathlib import Path

SLOTS = ("blue", "green")
# Beside HAProxy's own files: what `weight` was told last. No other file says anything of it.
SHARE = "share"
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
    # Who stood by before HAProxy was started again does so no more: both serve.
    commands = [f"set server app/{name}_standby state maint" for name in SLOTS]
    for name, share in ((slot, percent), (other, 100 - percent)):
        commands += [
            f"set server app/{name} weight {share}%",
            f"set server app/{name} state {'ready' if share else 'drain'}",
        ]
    return commands


def wanted(root):
    """Return what HAProxy is told of all slots."""
    share = given(root)
    if share:
        return sharing(*share)
    return [command for slot, duty in duties(root).items() for command in settling(slot, duty)]


def given(root):
    """Return the slot that has a share of the requests, and how many of 100; None where none has.

    Where it does not run any more it has none: so after a restart of the host, which does not
    start what is not live.
    """
    try:
        slot, percent = (root / "haproxy" / SHARE).read_text().split()
        if slot not in SLOTS or is_live(root, slot) or not listens(root, slot):
            return None
        return slot, int(percent)
    except (OSError, ValueError):
        return None


def listens(root, slot):
    lines = (root / "slots" / slot / "env").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    with socket.socket() as line:
        line.settimeout(ANSWER_SECONDS)
        return line.connect_ex(("127.0.0.1", int(values["PORT"].strip('"')))) == 0


def replace_file(file, text):
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        new.write_text(text)
        new.chmod(0o644)
        new.replace(file)
    except OSError:
        new.unlink(missing_ok=True)
        raise


def tell(root, commands):
    """Tell HAProxy all of it at once."""
    # Who becomes ready is told first, so that at no moment nobody is.
    commands = sorted(commands, key=lambda command: not command.endswith((" ready", "%")))
    said = ask(root, "; ".join(commands)).strip()
    if said:
        raise Refused(f"HAProxy says: {said}")


def obey(root):
    """Let HAProxy do what the disk says, also where that changes meanwhile: HAProxy may have been
    started in the moment of a switch."""
    told = None
    while told != (now := wanted(root)):
        tell(root, now)
        told = now
    keep_state(root)


def keep_state(root):
    """Let the next reload begin as it is now.

    HAProxy does by now what it was told. A full disk is no reason to say that it does not: then
    the file is written over, in the room that it has, and where that is too little it stays.
    """
    file, text = root / "haproxy" / "state", ask(root, "show servers state")
    try:
        replace_file(file, text)
    except OSError:
        with contextlib.suppress(OSError), file.open("r+") as there:
            there.write(text)
            there.truncate()


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
        share = root / "haproxy" / SHARE
        if what == "settle":
            share.unlink(missing_ok=True)
            obey(root)
        elif what == "start":
            obey(root)
        elif what == "weight":
            slot, percent = words[0], int(words[1])
            replace_file(share, f"{slot} {percent}\n")
            tell(root, sharing(slot, percent))
            keep_state(root)
        elif what == "drain":
            drain(root, words[0], float(words[1]))
    except (OSError, Refused) as error:
        sys.exit(f"{error}")


main()
