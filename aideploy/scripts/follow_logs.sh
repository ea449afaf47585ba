# shellcheck shell=bash
# What the service wrote last, then what it writes, until this is ended.
#
#   follow_logs.sh ROOT APP PLACE LINES

# shellcheck disable=SC2034  # root and app are for the service manager's functions
root=$(expand "$1") app=$2 slot=$(slot_at "$3") lines=$4

# only_last LINES: of what is there already the last LINES, then everything. The managers begin with
# up to 1000 lines; a pause says that the past is over.
only_last() {
  local line='' past=() end=$((SECONDS + 3))
  while ((${#past[@]} < 1000 && SECONDS < end)) && IFS= read -r -t 1 line; do
    past+=("$line")
    line=''
  done
  ((${#past[@]} <= $1)) || past=("${past[@]: -$1}")
  ((${#past[@]} == 0)) || printf '%s\n' "${past[@]}"
  printf '%s' "$line"
  exec cat
}

service_follow "$slot" | only_last "$lines"
