# shellcheck shell=bash
# Take a git pack from standard input; fetch.sh unpacks it.
#
#   take_pack.sh ROOT
exec cat >"$1/push.pack"
