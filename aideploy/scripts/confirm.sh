# shellcheck shell=bash
# The switch is confirmed: this host does not go back by itself any more.
#
#   confirm.sh ROOT

root=$(expand "$1")
due_cancel revert
