# shellcheck shell=bash
# Configuration files on a host: where they lie, what is in them, how they are replaced. A library.

# as_root COMMAND…: run it as root; the script fails when we may not.
as_root() {
  if ((EUID == 0)); then
    "$@"
    return
  fi
  may_be_root || fail no-sudo "$(id -un) may not act as root here: sudo -n says no" \
    "run fab setup as root, or give $(id -un) sudo rights for as long as fab setup takes"
  sudo -n "$@"
}

# may_be_root: whether we may do anything at all as root.
may_be_root() {
  ((EUID == 0)) && return
  [ -n "${root_allowed-}" ] || { sudo -n true 2>/dev/null && root_allowed=yes || root_allowed=no; }
  [ "$root_allowed" = yes ]
}

# target PATH: where a file of ours lies on this host. A ~/ is our home; supervisor's folder of
# programs is in the home, or else where Debian has it.
target() {
  local programs=supervisor/conf.d
  case $1 in
    [~]/"$programs"/*)
      if [ -d "$HOME/$programs" ]; then expand "$1"; else printf '%s\n' "/etc/${1#??}"; fi
      ;;
    *) expand "$1" ;;
  esac
}

# state_of PATH: there, missing or unreadable.
state_of() {
  if [ -r "$1" ]; then
    printf 'there\n'
  elif [ -e "$1" ] || { [ -e "${1%/*}" ] && [ ! -x "${1%/*}" ]; }; then
    printf 'unreadable\n'
  else
    printf 'missing\n'
  fi
}

# emit_checksums PATH…: for each a fact `file`: its sha256, or missing, or unreadable; then the path.
emit_checksums() {
  local path place state
  for path in "$@"; do
    place=$(target "$path")
    state=$(state_of "$place")
    [ "$state" != there ] || state=$(sha256sum <"$place")
    emit file "${state%% *} $path"
  done
}

# install_file CONTENT PATH MODE: put the file CONTENT at PATH by one atomic rename, as root where
# we may not write. Under a full disk the old file stays.
install_file() {
  local run='' new="$2.new.$$"
  [ -w "${2%/*}" ] || run=as_root
  if ! $run install -m "$3" -- "$1" "$new" || ! $run sync -- "$new"; then
    $run rm -f -- "$new"
    fail no-space "cannot write $2" "make room on the disk of the host"
  fi
  $run mv -fT -- "$new" "$2"
}
