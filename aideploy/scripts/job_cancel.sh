# shellcheck shell=bash
# End a job: it is asked, then it has to. What it was is kept: its log, and who ended it.
#
#   job_cancel.sh ROOT ID WHO

root=$(readlink -f -- "$(expand "$1")") who=$3
require_job "$2"
job_state "$job"
emit before "$state"
case $state in
  RUNNING | PENDING)
    step "end job $(short "$2")"
    end_job "$job" "$who"
    job_state "$job"
    ;;
  LOST) engine cancel "$job" ;;
esac
emit state "$state"
