"""How the HAProxy of an app sees its slots.

Runs on the hosts (Python 3.8 or later, standard library only):

    python3 -c PROGRAM FOLDER

FOLDER holds the socket admin.sock. It prints `SLOT STATUS CHECK` for each line of the backend
(HAProxy's management guide, "show stat"). Exit status 1: HAProxy does not answer; the last line
says why.
"""

from __future__ import annotations

import csv
import os
import socket
import sys

ANSWER_SECONDS = 5.0


def answer(folder: str, command: str) -> str:
    # By its short name: a path of a socket is limited to about a hundred letters.
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(ANSWER_SECONDS)
        line.connect("admin.sock")
        line.sendall(command.encode() + b"\n")
        parts: list[bytes] = []
        while True:
            part = line.recv(1 << 16)
            if not part:
                return b"".join(parts).decode("utf-8", "replace")
            parts.append(part)


def main() -> None:
    try:
        said = answer(sys.argv[1], "show stat app 4 -1")
    except OSError as error:
        sys.exit(f"{error.strerror or error}: {sys.argv[1]}/admin.sock")
    for row in csv.DictReader(said.lstrip("# ").splitlines()):
        print(row.get("svname", ""), row.get("status", ""), row.get("check_status", ""))


if __name__ == "__main__":
    main()
