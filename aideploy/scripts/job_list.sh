# shellcheck shell=bash
# What jobs there are on this host and how they are. Changes nothing, but lets node_exporter know of one that it is the
# first to find lost.
#
#   job_list.sh ROOT

root=$(readlink -f -- "$(expand "$1")")
news=''
while IFS= read -r job; do
  known=no
  [ ! -e "$job/lost" ] || known=yes
  job_state "$job"
  if [ "$state" = LOST ] && [ "$known" = no ]; then news=yes; fi
  emit job "${job##*/}"
  emit state "$state"
  emit spec "$(cat -- "$job/spec.json")"
  if [ -e "$job/status.json" ]; then
    emit status "$(cat -- "$job/status.json")"
  elif [ -e "$job/started" ]; then
    emit started "$(cut -d ' ' -f 2 -- "$job/started")"
  fi
done < <(jobs_here)
[ -z "$news" ] || write_metrics
