# shellcheck shell=bash
# Hand the release's model to the controller, when it is small enough to travel on the session.
#
#   read_model.sh ROOT RELEASE OUTPUTS MOST_BYTES

root=$(expand "$1") release=$2 outputs=$3 most=$4
place=$(readlink -f -- "$root/releases/$release/$outputs")
[ -d "$place" ] || place=$(dirname -- "$place")
if (($(du -sb -- "$place" | cut -f 1) <= most)); then
  tar -C "$place" --exclude=./.complete -czf - . | emit_file archive
fi
