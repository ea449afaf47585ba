# shellcheck shell=bash
# Keep on this host what the live analysis found of a release.
#
#   keep_analysis.sh ROOT RELEASE DOCUMENT
#
# Nothing here is a reason to fail: a release that is well is not held up by a full disk.

root=$(expand "$1") release=$2 document=$3
file=$root/analyses/$release.json

if mkdir -p -- "$root/analyses" && printf '%s\n' "$document" >"$file.new"; then
  mv -fT -- "$file.new" "$file" || true
fi 2>/dev/null
