# shellcheck shell=bash
# What jobs there are on this host and how they are. Changes nothing.
#
#   job_list.sh ROOT

root=$(readlink -f -- "$(expand "$1")")
while IFS= read -r job; do
  job_state "$job"
  emit job "${job##*/}"
  emit state "$state"
  emit spec "$(cat -- "$job/spec.json")"
  if [ -e "$job/status.json" ]; then
    emit status "$(cat -- "$job/status.json")"
  elif [ -e "$job/started" ]; then
    emit started "$(cut -d ' ' -f 2 -- "$job/started")"
  fi
done < <(jobs_here)
