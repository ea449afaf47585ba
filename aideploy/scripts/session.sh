# shellcheck shell=bash
# The shell that answers on a host for as long as a command runs: one channel, one lock.
#
#   session.sh ROOT LOCK OWNER IDLE [SECONDS FIRST]…
#
# ROOT: the folder of the app. LOCK: "lock" to hold ROOT/lock for the life of the session, "lock-if-there" to do so
# where it can be had (setup, which makes ROOT and mends its rights), and else to hold a lock in our home that only those
# look at who set up; "open" not to. OWNER: who we are and why, for those who find the lock taken. IDLE: end the session
# after so many seconds without a word from the controller. FIRST: scripts to run at once, without being asked, each with
# its time limit; 0 is none.
#
# It reads frames from its standard input and writes marks (see prelude.sh) among the output of what it runs:
#
#   run COUNT, then for each script: script BYTES SECONDS and that many bytes
#       run them in turn, each in a fresh shell in its own process group, until one fails. Marks:
#       `end INDEX STATUS` after each (STATUS may be `cancelled` or `timeout`), `idle` after all.
#   cancel          end the running script's whole process group
#   ping            answered by `pong`
#   bye             the end; so is the end of the input, and silence for IDLE seconds
#
# No child of ours holds the lock's descriptor, so that the lock ends with the session.
#
# Behind due.sh: a switch that was not confirmed (ROOT/due/revert) is taken back before the session frees the lock.
# One that was left by somebody whose session was killed is taken back before anything else, with a mark `reverting`.

root=$1 locking=$2 owner=$3 idle=$4 setup_lock=''
shift 4
case $root in [~]/*) root=$HOME/${root#??} ;; esac
# The options of a login shell, and that we began with -p, are nothing for the programs that we run.
export -n SHELLOPTS BASHOPTS
# What git and others say is looked at for the reason of a failure, whatever language the user speaks.
if [ -n "${LC_ALL-}" ]; then
  export LANG=$LC_ALL
  unset LC_ALL
fi
unset LANGUAGE
export LC_MESSAGES=C

mark_token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
printf '\x1eaideploy %s\n' "$mark_token"

mark() {
  printf '\x1e%s %s\n' "$mark_token" "$*"
}

# Everything that could end this shell from outside also ends its input; the end of the input is what we act on.
trap : PIPE HUP INT

# refuse_held: end here where the host was locked on purpose.
refuse_held() {
  [ -e "$root/held" ] || return 0
  mark refused held "$(head -n 1 "$root/held")"
  exit 0
}

take_lock() {
  if [ "$locking" = lock-if-there ]; then
    take_setup_lock
    if { : >>"$root/lock"; } 2>/dev/null; then
      locking=lock
      leave_setup_lock
    fi
  fi
  [ "$locking" = lock ] || return 0
  if [ ! -d "$root" ]; then
    mark refused missing "$root"
    exit 0
  fi
  refuse_held
  { exec 9>>"$root/lock"; } 2>/dev/null || {
    mark refused unwritable "$root/lock"
    exit 0
  }
  # Whoever only asks whether it is taken (status.sh) holds it for a moment; a job that the host runs by itself
  # is done soon, and nobody has to know of it.
  local tries=$idle status
  while flock -w 1 9; status=$?; [ "$status" = 1 ] && [ $((tries -= 1)) -gt 0 ]; do
    case $(head -n 1 "$root/lock") in "the host itself"*) mark pong ;; *) break ;; esac
  done
  case $status in
    0)
      # Who had it just now may have left that word.
      refuse_held
      # Whoever may read it may hold it: nobody but us.
      chmod 600 -- "$root/lock" 2>/dev/null
      say_who "$root/lock"
      ;;
    1) refuse_locked "$root/lock" ;;
    *) mark refused unlockable "$root/lock"; exit 0 ;;
  esac
}

# say_who FILE: who holds this lock, for those who find it taken.
say_who() {
  printf '%s since %s\n' "$owner" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$1"
}

refuse_locked() {
  mark refused locked "$(head -n 1 "$1")"
  exit 0
}

# take_setup_lock: two who set this app up for the first time must not meet. Who sets up later finds ROOT/lock, but
# not before the first one has ended. A home that is none, or has no locks, is no reason not to set up.
take_setup_lock() {
  local file=$HOME/.aideploy-setup${root//\//%}.lock status
  while { exec 9>>"$file"; } 2>/dev/null; do
    flock -w 1 9
    status=$?
    case $status in
      0) ;;
      1) refuse_locked "$file" ;;
      *) return ;;
    esac
    # Who had it before may have removed it.
    if [ "$file" -ef /proc/self/fd/9 ]; then
      say_who "$file"
      setup_lock=$file
      return
    fi
  done
}

# leave_setup_lock: nothing of it stays.
leave_setup_lock() {
  [ -z "$setup_lock" ] || rm -f -- "$setup_lock"
  setup_lock=''
  exec 9>&-
}

is_unconfirmed() {
  [ "$locking" = lock ] && [ -e "$root/due/revert" ]
}

# take_back: take back what whoever held the lock before us left unconfirmed. Whether or not that succeeds, our
# command goes on from there. The marks say that we live.
take_back() {
  local job
  is_unconfirmed || return 0
  mark reverting
  due_run revert &
  job=$!
  while kill -0 "$job" 2>/dev/null; do
    mark pong
    sleep 0.2
  done
}

# end_group PGID: ask the group to end; after five seconds it has to.
end_group() {
  local tries
  kill -TERM -- "-$1" 2>/dev/null
  for ((tries = 0; tries < 50; tries++)); do
    kill -0 -- "-$1" 2>/dev/null || return 0
    sleep 0.1
    # Once the leader is reaped only the rest of its group counts.
    kill -0 "$1" 2>/dev/null || wait "$1" 2>/dev/null
  done
  kill -KILL -- "-$1" 2>/dev/null
}

# One at a time: runs scripts[] in turn. It is a process of its own, so that the loop below stays free to listen.
supervise() {
  local index status child='' clock='' verdict=''
  trap : PIPE HUP INT
  trap 'verdict=cancelled; [ -n "$child" ] && end_group "$child"' TERM
  trap 'verdict=timeout; [ -n "$child" ] && end_group "$child"' USR1
  local self=$BASHPID
  # From here on a signal is heard.
  printf '\n' >&7
  for index in "${!scripts[@]}"; do
    [ -z "$verdict" ] || { mark end "$index" "$verdict"; break; }
    set -m
    bash --norc --noprofile -p /dev/fd/3 3< <(exec 7>&- 9>&-; printf 'mark_token=%s\n%s\n' "$mark_token" "${scripts[index]}") </dev/null 2>&1 7>&- 9>&- &
    child=$!
    # The word to end may have come before there was anything to end.
    [ -z "$verdict" ] || end_group "$child"
    if ((seconds[index] > 0)); then
      (exec >/dev/null 2>&1 7>&- 9>&-; sleep "${seconds[index]}"; kill -USR1 "$self") &
      clock=$!
    fi
    set +m
    wait "$child"
    status=$?
    # The wait ends early when a signal comes in; the status is the script's own only when it is gone.
    while kill -0 "$child" 2>/dev/null; do
      wait "$child"
      status=$?
    done
    child=''
    [ -n "$clock" ] && { kill -TERM -- "-$clock" 2>/dev/null; clock=''; }
    [ -z "$verdict" ] || status=$verdict
    mark end "$index" "$status"
    [ "$status" = 0 ] || break
  done
  mark idle
}

# take BYTES: that many bytes of our input into `taken`. Returns 1 where the input ends before: half a
# script must never run.
take() {
  local LC_ALL=C
  taken=$(head -c "$1"; printf .)
  taken=${taken%.}
  ((${#taken} == $1))
}

job=''
# A pipe, both ends of which are ours, without a name on the disk.
exec 7<> <(:)
start() {
  supervise &
  job=$!
  read -r -t "$idle" -u 7
}

# stop_job: returns when nothing of it runs any more. What it still has to say may find nobody who
# reads, on a line that is dead; then it is not waited for.
stop_job() {
  local tries
  [ -n "$job" ] || return 0
  kill -TERM "$job" 2>/dev/null
  for ((tries = 0; tries < 70; tries++)); do
    kill -0 "$job" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$job" 2>/dev/null
  wait "$job" 2>/dev/null
  job=''
}

take_lock
take_back
mark ready

scripts=() seconds=()
while (($# > 1)); do
  seconds+=("$1") scripts+=("$2")
  shift 2
done
((${#scripts[@]} == 0)) || start

while IFS= read -r -t "$idle" frame; do
  # shellcheck disable=SC2086  # a frame is words of ours
  set -- $frame
  case ${1-} in
    run)
      count=$2 scripts=() seconds=()
      while ((count-- > 0)); do
        read -r -t "$idle" _ length limit || break 2
        take "$length" || break 2
        scripts+=("$taken") seconds+=("$limit")
      done
      start
      ;;
    cancel) [ -n "$job" ] && kill -TERM "$job" 2>/dev/null ;;
    ping) mark pong ;;
    bye) break ;;
  esac
done

exec >/dev/null 2>&1 </dev/null
stop_job
if is_unconfirmed; then due_run revert; fi
[ -z "$setup_lock" ] || leave_setup_lock
