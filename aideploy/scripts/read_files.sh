# shellcheck shell=bash
# Say what is in files of ours.
#
#   read_files.sh PATH…
#
# Emits for each, by its number from 1: `state.N` (there, missing, unreadable), and `content.N` as
# base64 of those that are there.

number=0
for path in "$@"; do
  path=$(target "$path")
  state=$(state_of "$path")
  emit "state.$((++number))" "$state"
  if [ "$state" = there ]; then
    emit_file "content.$number" <"$path"
  fi
done
