# shellcheck shell=bash
# Watch the live service for a while: it has to stay well.
#
#   watch.sh ROOT APP PYTHON PROBE REQUEST

# shellcheck disable=SC2034  # root and app are for the service manager's functions
root=$(expand "$1") app=$2 python=$3 probe=$4 request=$5
step "watch"
slot=$(slot_at live)
# What it wrote before, the release that was in this slot may have written.
# shellcheck disable=SC2034  # for unwell
moment=$(service_moment "$slot")
probe "$python" "$probe" "$request" "$(service_pid "$slot")" || unwell "$slot" "while watching: $health"
emit health "$health"
