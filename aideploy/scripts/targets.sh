# shellcheck shell=bash
# Tell Prometheus which hosts there are and what runs on them: what comes on standard input.
#
#   targets.sh PATH
#
# The file that is there is replaced by one rename. Runs bare, on a channel of its own.

set -eu
umask 022
path=$1
trap 'rm -f -- "$path.new.$$"' EXIT
mkdir -p -- "${path%/*}"
cat >"$path.new.$$"
mv -fT -- "$path.new.$$" "$path"
