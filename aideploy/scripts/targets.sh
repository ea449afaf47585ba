# shellcheck shell=bash
# Tell Prometheus which hosts there are and what runs on them: what comes on standard input, behind a line with the
# number of its bytes. Of a line that was cut nothing is taken.
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
read -r bytes
head -c "$bytes" >"$path.new.$$"
[ "$(stat -c %s -- "$path.new.$$")" = "$bytes" ] || {
  printf 'it did not arrive whole\n' >&2
  exit 1
}
mv -fT -- "$path.new.$$" "$path"
is_of_another "$2" "$3" "$4" || rm -f -- "$2"
