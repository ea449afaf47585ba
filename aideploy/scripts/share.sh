# shellcheck shell=bash
# Give a part of the requests to a release that is not live yet, and ask it.
#
#   share.sh ROOT APP RELEASE PERCENT PYTHON PROBE SLOT_REQUEST STOP_SECONDS STOP_OLD
#
# The release was staged on this host. `current` stays as it is: whoever goes back from here does what it does after
# the switch. STOP_SECONDS and STOP_OLD: see stage.sh.

# shellcheck disable=SC2034  # some are for the functions of the service manager and the strategy
root=$(expand "$1") app=$2 release=$3 percent=$4 python=$5 probe=$6 slot_request=$7 stop_seconds=$8 stop_old=$9
# It had to answer as recorded where it was staged.
# shellcheck disable=SC2034
golden='' golden_request='' golden_file=''

[ -e "$root/releases/$release/release.json" ] ||
  fail no-release "the host has no whole release $release" "fab releases"
step "give $percent% of the requests to $release"
share "$release" "$percent"
export_slot "$slot"
emit slot "$slot"
probe "$python" "$probe" "$slot_request" "$(service_pid "$slot")" || unwell "$slot" "with $percent% of the requests: $health"
emit health "$health"
