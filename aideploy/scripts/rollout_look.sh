# shellcheck shell=bash
# What this host knows of a rollout that is under way or held. Changes nothing.
#
#   rollout_look.sh ROOT

root=$(expand "$1")

live=$(readlink -- "$root/current" || true)
emit current "${live##*/}"
# Shared, so that two who ask are not in each other's way.
if [ -r "$root/lock" ] && ! flock -s -n "$root/lock" true; then
  holder=$(head -n 1 -- "$root/lock")
  emit lock "$holder"
  if [ -r "$root/rollout/state" ]; then
    state=$(cat -- "$root/rollout/state")
    # What another session left says nothing about the one that holds the lock now.
    [ "${state%%$'\n'*}" != "$holder" ] || emit state "${state#*$'\n'}"
  fi
fi
[ ! -r "$root/rollout/held" ] || emit held "$(cat -- "$root/rollout/held")"
