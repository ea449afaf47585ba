# shellcheck shell=bash
# Make a release live: one atomic rename of `current`, the service restarted and asked.
#
#   switch.sh ROOT APP RELEASE DIRECTION LINE PYTHON PROBE REQUEST GOLDEN GOLDEN_REQUEST GOLDEN_FILE
#
# The release is on the host, whole. LINE goes to the journal; DIRECTION is "on", or "back", where a journal that
# cannot be written (a full disk) is no reason to stay. GOLDEN: golden.py where the release was not proven before, else empty. With an empty RELEASE nothing is live any more.

# shellcheck disable=SC2034  # app is for the service manager's functions
root=$(expand "$1") app=$2 release=$3 direction=$4 line=$5 python=$6 probe=$7 request=$8
golden=$9 golden_request=${10} golden_file=${11}

[ -z "$release" ] || [ -e "$root/releases/$release/release.json" ] ||
  fail no-release "the host has no whole release $release" "fab releases"
journal "$line" || [ "$direction" = back ] ||
  fail no-space "no room on the disk for the journal" "make room on the disk of the host"

if [ -z "$release" ]; then
  step "stop the service"
  service_stop live
  rm -f -- "$root/current"
  emit health "nothing is live"
  exit 0
fi
step "switch to $release"
replace_link "releases/$release" "$root/current"
prove live "$python" "$probe" "$request" "after the switch: " restart
golden live "$python" "$golden" "$golden_request" "$root/current/$golden_file" "after the switch: "
emit health "$health"
