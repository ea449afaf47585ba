# shellcheck shell=bash
# Take back what hold.sh did, and say what it was.
#
#   unhold.sh ROOT

root=$(expand "$1")
if [ -e "$root/held" ]; then
  emit held "$(head -n 1 -- "$root/held")"
  rm -f -- "$root/held"
elif [ -r "$root/lock" ] && ! flock -s -n "$root/lock" true; then
  emit lock "$(head -n 1 -- "$root/lock")"
fi
