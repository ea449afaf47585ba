# shellcheck shell=bash
# Leave on this host the script that takes the coming switch back unless it is confirmed.
#
#   arm.sh ROOT APP SECONDS WORDS SCRIPT
#
# It is due in so many SECONDS, at once when the session ends, or when the host starts again.

# shellcheck disable=SC2034  # app is for the service manager's functions
root=$(expand "$1") app=$2 seconds=$3 words=$4 script=$5

require_due
due_at revert "$seconds" "$words" <<<"$script"
