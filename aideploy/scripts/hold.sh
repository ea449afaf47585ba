# shellcheck shell=bash
# Lock this host on purpose, beyond the end of this session, which holds the lock.
#
#   hold.sh ROOT WHO_SINCE_WHY

root=$(expand "$1")
printf '%s\n' "$2" | replace_file "$root/held" 644
