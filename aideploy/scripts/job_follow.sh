# shellcheck shell=bash
# Show the log of a job as it grows, until the job has ended, and say how. To end this script ends nothing else.
#
#   job_follow.sh ROOT RELEASE ID LOGS
#
# With an empty ID the job of the release is meant. LOGS: the command that shows a log, as a person types it.

root=$(readlink -f -- "$(expand "$1")") release=$2 id=$3 logs=$4
asked=$root/releases/$release/.aideploy/job
[ -n "$id" ] || read -r id <"$asked"
require_job "$id"
emit job "$id"
# Of a longer log only the end is worth the line.
most=$((1 << 20))

# is_news: whether it goes on, or has ended since the release asked for it; older results are not shown anew.
is_news() {
  [ ! -e "$job/status.json" ] || { [ -e "$asked" ] && [ "$job/status.json" -nt "$asked" ]; }
}

# until_ended: returns when there is nothing to wait for any more.
until_ended() {
  local rounds=0
  # A pipe on which nobody ever writes: a read of it is a sleep without a process.
  exec 7<> <(:)
  until [ -e "$job/status.json" ]; do
    read -r -t 0.05 -u 7 || true
    ((++rounds % 40)) && continue
    job_state "$job"
    [ "$state" != LOST ] || return 0
  done
}

show_log() {
  local size from=1 waiter
  size=$(stat -c %s -- "$job/log")
  if ((size > most)); then
    from=$((size - most + 1))
    printf -- '-- the log is longer: %s bytes before this line (%s --job %s) --\n' "$((from - 1))" "$logs" "$(short "$id")"
  fi
  until_ended 8>&- &
  waiter=$!
  # When that one is gone, tail reads to the end and is gone, too.
  tail -c "+$from" -f -s 0.05 --pid="$waiter" -- "$job/log"
}

if is_news; then
  step "train (job $(short "$id"))"
  show_log
  job_state "$job"
else
  job_state "$job"
  [ "$state" = SUCCEEDED ] || tail -n 20 -- "$job/log"
fi
emit state "$state"
emit spec "$(cat -- "$job/spec.json")"
if [ -e "$job/status.json" ]; then emit status "$(cat -- "$job/status.json")"; fi

[ "$state" != SUCCEEDED ] || exit 0
if [ "$state" = LOST ]; then
  engine tell "$job"
  # It could not do so itself.
  write_metrics
fi
code=job-lost message="the training is gone without a word: the host was restarted, or its process was killed"
[ ! -e "$job/cancel" ] || message="the training was cancelled by $(head -n 1 -- "$job/cancel") before it ran"
if [ -e "$job/status.json" ]; then code=$(job_said "$job" code) message=$(job_said "$job" message); fi
case $code in
  timeout) next="see why, or raise timeout in [train]" ;;
  out-of-memory) next="let it use less, raise memory in [train] resources, or train on a larger host" ;;
  no-model) next="check [train] outputs against what the command writes; let the training write plain files" ;;
  no-space) next="make room on the disk of the host, then run the same command again" ;;
  training-cancelled | job-lost) next="fab deploy begins it anew" ;;
  *) next="the lines above say why; nothing was changed" ;;
esac
fail "$code" "$message" "$next"
