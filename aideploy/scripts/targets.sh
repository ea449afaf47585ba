# shellcheck shell=bash
# Tell Prometheus which hosts there are and what runs on them: what comes on standard input.
#
#   targets.sh PATH OLD APP ENVIRONMENT
#
# The file that is there is replaced by one rename. OLD is what it was called in version 0.1: it goes, or each host would
# be asked twice. Runs bare, on a channel of its own, with old_name.sh in front.

set -eu
umask 022
path=$1
trap 'rm -f -- "$path.new.$$"' EXIT
mkdir -p -- "${path%/*}"
cat >"$path.new.$$"
mv -fT -- "$path.new.$$" "$path"
is_of_another "$2" "$3" "$4" || rm -f -- "$2"
