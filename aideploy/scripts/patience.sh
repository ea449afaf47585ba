# shellcheck shell=bash
# Programs that may hang: a library; needs no prelude.

# answer_of SECONDS COMMAND…: print what it prints, and return its status; 124 where it takes longer. A driver or a disk
# that hangs keeps even a process that was killed: nobody waits for that to let go of a pipe or a lock.
answer_of() {
  local said='' seconds=$1 status
  shift
  # Whatever it prints last, behind it stands its status.
  IFS= read -r -d '' -t "$((seconds + 4))" said < <(
    exec 8>&- 9>&-
    status=0
    timeout -k 2 "$seconds" "$@" </dev/null || status=$?
    printf '\nstatus %s' "$status"
  ) || true
  status=124
  if [[ $said == *$'\nstatus '* ]]; then
    status=${said##*$'\nstatus '} said=${said%$'\nstatus '*}
    ((status != 137)) || status=124
  fi
  [ -z "$said" ] || printf '%s\n' "${said%$'\n'}"
  return "$status"
}

# part SECONDS NAME COMMAND…: run a function of ours, so long and no longer. Of one that did not come to its end in
# time `unanswered NAME` is emitted; what it found out until then counts.
part() {
  local seconds=$1 name=$2 pipe end=$((SECONDS + $1))
  shift 2
  if ((seconds <= 0)); then
    emit unanswered "$name"
    return
  fi
  # A group of its own, so that all of it can be ended.
  set -m
  "$@" </dev/null &
  part_group=$!
  set +m
  disown "$part_group"
  trap 'kill -KILL -- "-$part_group" 2>/dev/null' EXIT
  # A pipe on which nobody ever writes: a read of it is a sleep without a process.
  exec {pipe}<> <(:)
  while kill -0 "$part_group" 2>/dev/null; do
    if ((SECONDS >= end)); then
      kill -KILL -- "-$part_group" 2>/dev/null
      emit unanswered "$name"
      break
    fi
    read -r -t 0.05 -u "$pipe" || true
  done
  exec {pipe}>&-
  trap - EXIT
}
