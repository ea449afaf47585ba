#!/usr/bin/env bash
# Run a program in a control group of its own at the top of the tree. Called by hosts.py.
#   boot.sh GROUP PROGRAM [ARGUMENT...]
# Without it the hosts of a lab would share one control group: the systemd of each would see the
# services of the others as its own.
set -euo pipefail

group=$1
shift

for tree in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd /sys/fs/cgroup; do
    [[ -e $tree/cgroup.procs ]] || continue
    mkdir -p "$tree/$group"
    echo $$ >"$tree/$group/cgroup.procs"
done

exec "$@"
