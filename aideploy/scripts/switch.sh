# shellcheck shell=bash
# Make a release live: one atomic rename of `current`, the service restarted and asked.
#
#   switch.sh ROOT APP RELEASE DIRECTION LINE PYTHON PROBE REQUEST GOLDEN GOLDEN_REQUEST GOLDEN_FILE
#
# The release is on the host, whole. LINE goes to the journal; DIRECTION is "on", or "back", where a journal that
# cannot be written (a full disk) is no reason to stay. With an empty RELEASE nothing is live any more. The way
# back may have been written down long before it is taken, and by whoever is first: the others find it taken.
# GOLDEN: golden.py, where the release could not be proven before; else empty.

# shellcheck disable=SC2034  # app is for the service manager's functions
root=$(expand "$1") app=$2 release=$3 direction=$4 line=$5 python=$6 probe=$7 request=$8
golden=$9 golden_request=${10} golden_file=${11}

[ -z "$release" ] || [ -e "$root/releases/$release/release.json" ] ||
  fail no-release "the host has no whole release $release" "fab releases"
if [ "$direction" = back ]; then
  if [ -n "$release" ] && [ ! -e "$root/due/revert" ] && [ "$root/current" -ef "$root/releases/$release" ]; then
    step "see how it is: it went back by itself"
    probe "$python" "$probe" "$request" "$(service_pid live)" || unwell live "it went back by itself: $health"
    emit health "$health"
    exit 0
  fi
  line=$(sed -E "s/^(\{\"at\": \")[^\"]*/\1$(date -u +%Y-%m-%dT%H:%M:%S+00:00)/" <<<"$line")
fi
journal "$line" || [ "$direction" = back ] ||
  fail no-space "no room on the disk for the journal" "make room on the disk of the host"

if [ -z "$release" ]; then
  step "stop the service"
  service_stop live
  rm -f -- "$root/current"
  [ "$direction" = on ] || due_cancel revert
  emit health "nothing is live"
  exit 0
fi
step "switch to $release"
replace_link "releases/$release" "$root/current"
prove live "$python" "$probe" "$request" "after the switch: " restart
golden live "$python" "$golden" "$golden_request" "$root/current/$golden_file" "after the switch: "
[ "$direction" = on ] || due_cancel revert
emit health "$health"
