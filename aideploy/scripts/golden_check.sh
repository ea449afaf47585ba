# shellcheck shell=bash
# Read the golden file of a release; it is wrong before anything is built or trained for it.
#
#   golden_check.sh ROOT RELEASE PYTHON PROGRAM FILE
#
# FILE: below the release. PROGRAM is golden.py.

root=$(expand "$1") release=$2 python=$3 program=$4 file=$5
place=$root/releases/$release/$file
[ -f "$place" ] ||
  fail bad-golden "the commit has no file $file, which [golden] names" "record it with fab golden.record and commit it, or correct [golden] file"
status=0
said=$("$python" -I -c "$program" check "$place" "$file" 2>&1) || status=$?
if ((status != 0)); then
  printf '%s\n' "$said"
  fail bad-golden "the golden file is wrong: ${said%%$'\n'*}" "correct it, commit, push, and deploy again"
fi
