# shellcheck shell=bash
# What belongs to a release, written down when it is made whole, and what has changed since. A library. Uses `root`.
#
#   releases/ID/.aideploy/files   lines of sha256sum, of every file but release.json, which is written last
#   releases/ID/.aideploy/links   PATH -> TARGET of every link
#
# What is told is cheap to find out, however large a release is: a file is read again only when the file system
# says that something was done to it. The files of environments and models, which may be many and huge, are not
# read at all: they are older than the file .complete, which is written last there.

# write_manifest RELEASE: what is there now is what belongs to it.
write_manifest() {
  local place=$root/releases/$1
  (
    cd -- "$place"
    find . -type f ! -path ./release.json ! -path './.aideploy/files*' -print0 | xargs -0 -r sha256sum --
  ) | replace_file "$place/.aideploy/files" 640
  links_below "$place" | replace_file "$place/.aideploy/links" 640
}

# emit_changes KEY RELEASE: a fact KEY for each of at most 20 paths that are not as they were: release, venv or
# model, and the path in it. What was made by an aideploy that wrote nothing down is not compared.
emit_changes() {
  local kind path count=0 place=$root/releases/$2
  [ -e "$place/.aideploy/links" ] || return 0
  while ((++count <= 20)) && read -r kind path; do emit "$1" "$kind $path"; done < <(
    changed_files "$place"
    changed_links "$place"
    changed_below "$place"
  )
}

# revision_of RELEASE: prints the commit in its release.json.
revision_of() {
  sed -nE 's/^ *"revision": "([0-9a-f]+)",?$/\1/p' "$root/releases/$1/release.json" 2>/dev/null || true
}

# -- inside ---------------------------------------------------------------------------------------

links_below() {
  (cd -- "$1" && find . -type l -printf '%P -> %l\n' | LC_ALL=C sort)
}

# A name that sha256sum has to quote is not found among the others, and so is always read.
changed_files() {
  (
    cd -- "$1"
    awk '
      FNR == NR { if ($1 == "there") there[substr($0, 7)]; else touched[substr($0, 7)]; next }
      { path = substr($0, 67) }
      !(path in there) || path in touched
    ' <(
      find . -type f -printf 'there %p\n'
      find . -type f -cnewer .aideploy/files -printf 'touch %p\n'
    ) .aideploy/files | LC_ALL=C sha256sum --check --quiet 2>/dev/null |
      sed -nE 's#^\./(.*): FAILED( open or read)?$#release \1#p'
  ) || true
}

changed_links() {
  LC_ALL=C comm -23 "$1/.aideploy/links" <(links_below "$1") | sed 's/^/release /'
}

# changed_below RELEASE: in the environments and models that it points to. Both times count: a file may have come
# from a host with another clock, and a second link to it is no change.
changed_below() {
  local real target kind name
  real=$(readlink -f -- "$root")
  find "$1" -type l -exec readlink -f -- {} + | LC_ALL=C sort -u | while IFS= read -r target; do
    case $target in
      "$real"/venvs/*) kind=venv name=${target#"$real"/venvs/} target=$real/venvs ;;
      "$real"/models/*) kind=model name=${target#"$real"/models/} target=$real/models ;;
      *) continue ;;
    esac
    target=$target/${name%%/*}
    [ ! -e "$target/.complete" ] ||
      find "$target" -type f -newer "$target/.complete" -cnewer "$target/.complete" ! -path '*/__pycache__/*' \
        -printf "$kind %P\n"
  done
}
