# shellcheck shell=bash
# What the journal of a host says, for those who decide by it. A library. Uses `root`.

# emit_journal LINES: its last so many lines, and of the releases that are here every line: many failures in a row must
# not hide what was good before them.
emit_journal() {
  local file=$root/journal.jsonl place here=''
  [ -f "$file" ] || return 0
  for place in "$root"/releases/*/release.json; do
    place=${place%/release.json}
    [ ! -e "$place/release.json" ] || here+="\"${place##*/}\""$'\n'
  done
  {
    [ -z "$here" ] || head -n "-$1" -- "$file" | grep -F "${here%$'\n'}" || true
    tail -n "$1" -- "$file"
  } | emit_file journal
}
