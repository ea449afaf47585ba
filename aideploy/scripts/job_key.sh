# shellcheck shell=bash
# What a training depends on, and so what names its job. A library behind commits.sh and release.sh. A script
# sets `root`, `repo`, `release`, `tree` and the settings `command`, `outputs`, `metrics`,
# `data_version`, `inputs`, `nodes` and `variables`.

# job_key: the inputs, a line each. What may be secret is in it as a checksum.
job_key() {
  local data
  printf 'command %s\n' "$(printf '%s' "$command" | sha256sum | cut -c 1-64)"
  printf 'outputs %s\nmetrics %s\n' "$outputs" "$metrics"
  printf 'environment %s\n' "$(basename -- "$(readlink -f -- "$root/releases/$release/.venv")")"
  printf 'variables %s\n' "$(printf '%s\0' "${variables[@]}" | LC_ALL=C sort -z | sha256sum | cut -c 1-64)"
  ((nodes == 0)) || printf 'nodes %s\n' "$nodes"
  if [ -n "$data_version" ]; then
    data=$(data_version)
    printf 'data %s\n' "$data"
  fi
  input_files
}

# data_version: what the project's own command says.
data_version() {
  local said
  said=$(enter_release "$release" && export_all "${variables[@]}" && PYTHONDONTWRITEBYTECODE=1 timeout 60 bash -c "$data_version" 8>&-) ||
    fail no-data-version "the command [train] data_version failed (exit status $?)" "see what it says on the host: $data_version"
  said=$(printf '%s' "$said" | tr -s '[:space:]' ' ')
  said=${said# } said=${said% }
  [ -n "$said" ] || fail no-data-version "the command [train] data_version printed nothing" "let it print the version of the data"
  printf '%s\n' "${said:0:1000}"
}

# input_files: the tree of the commit, or the files of it that the settings name.
input_files() {
  local pattern found nothing
  if ((${#inputs[@]} == 0)); then
    printf 'tree %s\n' "$(git_ rev-parse "$tree^{tree}")"
    return
  fi
  nothing=$(git_ hash-object -t tree --stdin </dev/null)
  for pattern in "${inputs[@]}"; do
    found=$(git_ diff-tree -r --no-renames --no-abbrev "$nothing" "$tree" -- ":(glob)$pattern" |
      sed -E 's/^:[0-9]+ ([0-9]+) [0-9a-f]+ ([0-9a-f]+) A\t/file \1 \2 /')
    [ -n "$found" ] || fail no-inputs "no file of the commit is $pattern, of [train] inputs" "correct [train] inputs, or commit the file"
    printf '%s\n' "$found"
  done | LC_ALL=C sort -u
}

# changes OLD NEW: in words, what differs between two files with keys.
changes() {
  local word words=()
  declare -A names=([command]="the command" [outputs]="outputs" [metrics]="metrics" [environment]="the packages"
    [variables]="[train] environment" [nodes]="the number of hosts" [data]="the data version")
  for word in command outputs metrics environment variables nodes data; do
    [ "$(grep "^$word " -- "$1")" = "$(grep "^$word " -- "$2")" ] || words+=("${names[$word]}")
  done
  mapfile -t -O "${#words[@]}" words < <(changed_files "$1" "$2")
  word=$(printf ', %s' "${words[@]:0:6}")
  ((${#words[@]} <= 6)) || word+=" and $((${#words[@]} - 6)) more"
  printf '%s\n' "${word#, }"
}

# changed_files OLD NEW: their names, a line each.
changed_files() {
  local old new
  old=$(sed -n 's/^tree //p' -- "$1") new=$(sed -n 's/^tree //p' -- "$2")
  if [ "$old" = "$new" ]; then
    LC_ALL=C comm -3 <(grep '^file ' -- "$1" | LC_ALL=C sort) <(grep '^file ' -- "$2" | LC_ALL=C sort) |
      sed -E 's/^\t?file [0-9]+ [0-9a-f]+ //' | LC_ALL=C sort -u
  elif [ -n "$old" ] && [ -n "$new" ] && git_ diff-tree -r --name-only "$old" "$new" 2>/dev/null; then
    return
  else
    printf 'files\n'
  fi
}
