# shellcheck shell=bash
# What the service wrote last.
#
#   logs.sh ROOT APP PLACE LINES

# shellcheck disable=SC2034  # root and app are for the service manager's functions
root=$(expand "$1") app=$2 slot=$(slot_at "$3") lines=$4
log=$(service_log "$slot" "$lines") || fail no-log "there is no log of the slot $slot" "fab deploy, or fab setup"
emit_file log <<<"$log"
