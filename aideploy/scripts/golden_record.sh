# shellcheck shell=bash
# Put requests to the live service and emit what it answers.
#
#   golden_record.sh ROOT PYTHON PROGRAM REQUEST LINES
#
# PROGRAM is golden.py, LINES are the requests as a golden file holds them. Emits `release`, which is live, and
# `answers`: a line of JSON for each request. Emits nothing when nothing is live.

root=$(expand "$1") python=$2 program=$3 request=$4 lines=$5
[ -e "$root/current" ] || exit 0
emit release "$(basename -- "$(readlink -f -- "$root/current")")"
step "ask the live release"
# By its input: there may be more of them than an argument can hold.
answers=$(printf '%s' "$lines" | "$python" -I -c "$program" record "$request") ||
  fail no-answers "the live release did not answer all requests in time" "raise timeout in [golden], or record fewer with --count"
printf '%s\n' "$answers" | emit_file answers
