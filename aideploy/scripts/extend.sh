# shellcheck shell=bash
# The switch may be confirmed for longer: so many seconds from now.
#
#   extend.sh ROOT SECONDS

root=$(expand "$1")
due_extend revert "$2"
