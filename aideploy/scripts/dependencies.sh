# shellcheck shell=bash
# What decides an environment, and so names it. A library. A script stands in the folder of the release, and sets
# `interpreter`, `version` and `tree`, which stands for the release's own code, before it asks for the hash.

# with_includes FILE…: the files, and those they include with -r and -c.
declare -A seen=()
with_includes() {
  local file line
  for file in "$@"; do
    [ -z "${seen[$file]-}" ] || continue
    seen[$file]=1
    [ -f "$file" ] || fail no-requirements "the release has no file $file" "check [install] requirements"
    printf '%s\0' "$file"
    case $file in *.txt | *.in) ;; *) continue ;; esac
    while IFS= read -r line; do
      [ -z "$line" ] || with_includes "$(dirname -- "$file")/$line"
    done < <(sed -nE 's/^[[:space:]]*(-r|--requirement|-c|--constraint)[[:space:]=]+([^[:space:]#]+).*/\2/p' -- "$file")
  done
}

# environment_hash FILE…: the name of the environment that these dependency files describe.
environment_hash() {
  local file
  {
    printf '%s\n%s\n%s\n' "$interpreter" "$version" "$(uname -m)"
    while IFS= read -r -d '' file; do
      printf '%s\n' "$file"
      cat -- "$file"
      # A dependency on the release's own code changes with the code.
      if grep -Eq '^[[:space:]]*(-e|--editable|\.|file:)|@[[:space:]]*file:' -- "$file"; then printf '%s\n' "$tree"; fi
    done < <(with_includes "$@")
  } | sha256sum | cut -c 1-16
}
