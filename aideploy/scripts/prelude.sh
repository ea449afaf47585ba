# shellcheck shell=bash
# The beginning of every script that runs on a host. The session puts `mark_token` in front of it
# and the script's arguments (`set -- …`) and the script itself behind it.
#
# A script tells the controller what it does through marks: lines that begin with a random token
# of the session, so that no program's output can be taken for one. Programs do not inherit it.

: "${mark_token?}"
set -Eeuo pipefail
exec 3<&- 8>&1
# The service runs as another user, which reads releases, environments and models.
umask 022

# mark KIND [REST]: one line below 4 KiB, which a pipe never interleaves with another.
mark() {
  local LC_ALL=C
  printf '\x1e%s %s\n' "$mark_token" "$*" >&8
}

# step TEXT: what the script does from here on, in a few words, for the screen.
step() {
  mark step "$*"
}

# emit KEY VALUE: a fact for the controller. The value may hold anything but NUL.
emit() {
  local LC_ALL=C value=$2
  value=${value//\\/\\\\}
  value=${value//$'\n'/\\n}
  while ((${#value} > 3000)); do
    mark part "$1" "${value:0:3000}"
    value=${value:3000}
  done
  mark emit "$1" "$value"
}

# emit_file KEY: what comes on standard input, as base64, whatever its size.
emit_file() {
  local line
  base64 -w 3000 | while IFS= read -r line || [ -n "$line" ]; do
    mark part "$1" "$line"
  done
  mark emit "$1" ""
}

# fail CODE MESSAGE [NEXT]: the script ends here. CODE is a word that the controller knows,
# MESSAGE is for a person, NEXT is what to do about it.
fail() {
  emit fail.code "$1"
  emit fail.message "$2"
  emit fail.next "${3-}"
  exit 1
}

# A command that failed without a `fail` of its own: say which, the output says the rest.
died() {
  local status=$1 command=$2
  trap - ERR
  # A subshell's end is reported by whoever waits for it.
  ((BASH_SUBSHELL == 0)) && emit fail.command "$command (exit status $status)"
  return 0
}
trap 'died $? "$BASH_COMMAND"' ERR

# expand PATH: a path that begins with ~/ lies in the home of the user we are.
expand() {
  case $1 in
    [~]/*) printf '%s\n' "$HOME/${1#??}" ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# write_metrics: tell node_exporter how things are by now, where `fab setup` put the program for it. `root` is set
# before. What stands in its way is said and stops nothing.
write_metrics() {
  [ ! -x "$root/metrics.sh" ] || timeout -k 5 20 "$root/metrics.sh" </dev/null || true
}

# replace_link TARGET LINK: make LINK point to TARGET by one atomic rename.
replace_link() {
  local temporary="$2.new.$$"
  ln -sfn -- "$1" "$temporary"
  mv -fT -- "$temporary" "$2"
}

# replace_file PATH MODE: put what comes on standard input there by one atomic rename; the content
# is on the disk before the rename. Under a full disk the old file stays.
replace_file() {
  local temporary="$1.new.$$"
  (umask 077 && cat >"$temporary") || {
    rm -f -- "$temporary"
    fail no-space "no room on the disk for $1" "make room on the disk of the host"
  }
  chmod -- "$2" "$temporary"
  sync -- "$temporary" 2>/dev/null || sync
  mv -fT -- "$temporary" "$1"
}
