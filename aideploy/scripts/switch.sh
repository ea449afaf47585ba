# shellcheck shell=bash
# Make a release live: one atomic rename of `current`, requests go to it, and it is asked.
#
#   switch.sh ROOT APP RELEASE DIRECTION LINE PYTHON PROBE REQUEST SLOT_REQUEST \
#             GOLDEN GOLDEN_REQUEST GOLDEN_FILE STOP_SECONDS STOP_OLD GPU GPU_SECONDS
#
# The release is on the host, whole. LINE goes to the journal; DIRECTION is "on", or "back", where a journal that
# cannot be written (a full disk) is no reason to stay. With an empty RELEASE nothing is live any more. The way
# back may have been written down long before it is taken, and by whoever is first: the others find it taken.
# REQUEST is what users would ask, SLOT_REQUEST the same of any slot. GOLDEN: golden.py, where the release could not be
# proven before; else empty. STOP_SECONDS and STOP_OLD: see stage.sh. GPU: gpu.py, where the
# memory of GPUs has to be free before the start; else empty. GPU_SECONDS: how long that may take.

# shellcheck disable=SC2034  # some are for the functions of the service manager and the strategy
root=$(expand "$1") app=$2 release=$3 direction=$4 line=$5 python=$6 probe=$7 request=$8
slot_request=$9 golden=${10} golden_request=${11} golden_file=${12} stop_seconds=${13} stop_old=${14}
gpu=${15} gpu_seconds=${16}

[ -z "$release" ] || [ -e "$root/releases/$release/release.json" ] ||
  fail no-release "the host has no whole release $release" "fab releases"
if [ "$direction" = back ]; then
  if [ -n "$release" ] && [ ! -e "$root/due/revert" ] && [ "$root/current" -ef "$root/releases/$release" ]; then
    step "see how it is: it went back by itself"
    slot=$(slot_at live)
    probe "$python" "$probe" "$request" "$(service_pid "$slot")" || unwell "$slot" "it went back by itself: $health"
    emit health "$health"
    exit 0
  fi
  line=$(sed -E "s/^(\{\"at\": \")[^\"]*/\1$(date -u +%Y-%m-%dT%H:%M:%S+00:00)/" <<<"$line")
fi
# Also where it does not become well.
trap write_metrics EXIT
journal "$line" || [ "$direction" = back ] ||
  fail no-space "no room on the disk for the journal" "make room on the disk of the host"

if [ -z "$release" ]; then
  step "stop the service"
  go_dark
  [ "$direction" = on ] || due_cancel revert
  emit health "nothing is live"
  exit 0
fi
step "switch to $release"
go_live "$release" "$direction"
[ "$direction" = on ] || due_cancel revert
emit health "$health"
