# shellcheck shell=bash
# Write down that the rollout is held, beyond the end of any session, or strike that out.
#
#   rollout_hold.sh ROOT STATE
#
# With an empty STATE nothing is held any more.

root=$(expand "$1") state=$2

if [ -n "$state" ]; then
  mkdir -p -- "$root/rollout"
  printf '%s\n' "$state" | replace_file "$root/rollout/held" 644
else
  rm -f -- "$root/rollout/held"
fi
