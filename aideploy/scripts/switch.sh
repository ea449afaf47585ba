# shellcheck shell=bash
# Make the release live: one atomic rename of `current`, the service restarted and asked.
#
#   switch.sh ROOT APP RELEASE LINE PYTHON PROBE REQUEST
#
# The release is on the host, whole. LINE goes to the journal. With an empty RELEASE nothing is live any more.

# shellcheck disable=SC2034  # app is for the service manager's functions
root=$(expand "$1") app=$2 release=$3 line=$4 python=$5 probe=$6 request=$7

if [ -z "$release" ]; then
  step "stop the service"
  service_stop live
  rm -f -- "$root/current"
  journal "$line"
  emit health "nothing is live"
  exit 0
fi
[ -e "$root/releases/$release/release.json" ] || fail no-release "the host has no whole release $release" "fab releases"
step "switch to $release"
replace_link "releases/$release" "$root/current"
journal "$line"
prove live "$python" "$probe" "$request" "after the switch: " restart
emit health "$health"
