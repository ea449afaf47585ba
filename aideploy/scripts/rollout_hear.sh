# shellcheck shell=bash
# For the controller of a rollout: say on this host how it stands, and take what somebody asks of it.
#
#   rollout_hear.sh ROOT STATE
#
# STATE is kept below the line in the lock that says whose session this is: it counts as long as that session
# lives. Nothing here is a reason to fail: on a full disk a rollout goes on, and others see less of it.

root=$(expand "$1") state=$2
folder=$root/rollout

if mkdir -p -- "$folder" && { head -n 1 -- "$root/lock" && printf '%s\n' "$state"; } >"$folder/state.new"; then
  mv -fT -- "$folder/state.new" "$folder/state" || true
fi 2>/dev/null
if mv -fT -- "$folder/request" "$folder/request.taken" 2>/dev/null; then
  emit request "$(cat -- "$folder/request.taken")"
  rm -f -- "$folder/request.taken"
fi
