# shellcheck shell=bash
# Run a command of the user in the live release's environment; in our home where nothing is live.
#
#   exec.sh ROOT COMMAND
#
# Emits its exit status: that is an answer, not a failure of this script.

root=$(expand "$1") command=$2
if [ -L "$root/current" ]; then
  enter_release "$(basename -- "$(readlink -- "$root/current")")"
fi
status=0
bash -c "$command" || status=$?
emit status "$status"
