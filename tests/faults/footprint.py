"""What a host has of an app: folders, units, processes, jobs that are due.

Used by the fault bench to see that nothing is left over: after whatever happened, one plain deploy
has to bring back the footprint from before. What changes with every deploy is blanked; the logs of
jobs that were due (`revert.log`) and the records of old releases are kept on purpose.
"""

from __future__ import annotations

import re

from tests.fleet.project import Project
from tests.lab.hosts import Host

# What a deploy may change for good is listed deeply, what is copied or built as a whole is not.
_LOOK = r"""
cd "$ROOT"
find . -maxdepth 3 \( -path ./repo.git -o -path './releases/*/*' -o -path './venvs/*/*' \
  -o -path './models/*/*' -o -path ./records -o -name '*.log' \) -prune -o -printf '%y %P\n'
for place in releases/*/; do [ -e "$place/release.json" ] || echo "half $place"; done
for place in venvs/*/ models/*/; do [ -e "$place/.complete" ] || echo "half $place"; done
for kind in releases venvs models; do
  # What stands by in a slot stays, too, where nobody was left to call it good.
  [ "$(ls "$kind" | wc -l)" -le $((KEEP + 1)) ] || echo "too many $kind"
done
find /tmp /var/tmp -mindepth 1 -maxdepth 1 -printf 'temporary %P\n'
systemctl list-units --all --plain --no-legend "$APP*" 'run-*.service' |
  awk '{print "unit", $1, $3, $4}'
ps -e -o user=,args= | sed 's/  */ /g; s/^/process /'
"""
_BLANKS = (
    (re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{7}"), "RELEASE"),
    (re.compile(r"\b[0-9a-f]{12,64}\b"), "HASH"),
    (re.compile(r"\b(blue|green)\b"), "SLOT"),
    (re.compile(r"\d+"), "N"),
)
# Of the host itself and of logging in: they come and go, whoever deploys.
_OF_THE_HOST = re.compile(
    r"process root (ps|awk|sed|find|bash|sshd|systemctl|\[|/lib/systemd/|/sbin/)"
    r"|process \S+ (sshd: |\(sd-pam\)|/lib/systemd/systemd|/usr/bin/dbus)"
    r"|process root .*(watch\.py|agetty)"
    # What systemd is about to start.
    r"|process root \("
    r"|temporary (?!tmp\.)"
)


def footprint(project: Project, host: Host, keep: int) -> frozenset[str]:
    """What a host has of an app.

    Args:
        project, host: which.
        keep: so many releases, environments and models may be there.
    """
    look = f"ROOT={project.root} APP={project.app}\n" + _LOOK.replace("KEEP", str(keep))
    lines = host.exec(look).stdout.splitlines()
    return frozenset(_blanked(line) for line in lines if not _OF_THE_HOST.match(line))


def _blanked(line: str) -> str:
    for pattern, word in _BLANKS:
        line = pattern.sub(word, line)
    return line
