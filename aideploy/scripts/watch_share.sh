# shellcheck shell=bash
# Watch for a while a release that gets a part of the requests: it has to stay well.
#
#   watch_share.sh ROOT APP RELEASE PYTHON PROBE SLOT_REQUEST

# shellcheck disable=SC2034  # root and app are for the service manager's functions
root=$(expand "$1") app=$2 release=$3 python=$4 probe=$5 slot_request=$6
step "watch $release"
slot=$(slot_with "$release")
[ -n "$slot" ] || fail unhealthy "while watching: no slot runs $release any more" "fab logs"
export_slot "$slot"
# What it wrote before, the release that was in this slot may have written.
# shellcheck disable=SC2034  # for unwell
moment=$(service_moment "$slot")
probe "$python" "$probe" "$slot_request" "$(service_pid "$slot")" || unwell "$slot" "while watching: $health"
emit health "$health"
