# shellcheck shell=bash
# The last lines that a job wrote.
#
#   job_log.sh ROOT ID ATTEMPT LINES
#
# ATTEMPT: the number of an earlier one; empty for the last.

root=$(readlink -f -- "$(expand "$1")") attempt=$3 lines=$4
require_job "$2"
log=$job/log
if [ -n "$attempt" ] && [ -d "$job/attempts/$attempt" ]; then log=$job/attempts/$attempt/log; fi
tail -n "$lines" -- "$log" | emit_file log
