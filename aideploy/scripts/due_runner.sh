# shellcheck shell=bash
# Runs on a host what is due there, under the app's lock. `fab setup` puts it there behind due.sh, as ROOT/due.sh, and
# has the service manager start it.
#
#   due.sh ROOT HOW
#
# HOW: "leave" when no job is left; systemd starts it again when one comes, and when the host starts. "stay" otherwise.

root=$1 how=$2
tries=3 pause=5
shopt -s nullglob
# A pipe, both ends of which are ours: to wait a second on it takes no process.
exec 7<> <(:)

# is_due FILE: also what is no job, so that it is put away, and what was cut while it was written.
is_due() {
  local mark word uptime boot
  [ -e "$1" ] || return 1
  case $1 in *.new.*) return 0 ;; esac
  { read -r mark word _ uptime boot <"$1"; } 2>/dev/null
  [ "$mark $word" = '# due' ] && [[ $uptime =~ ^[0-9]{1,15}$ ]] && [ "$boot" = "$this_boot" ] || return 0
  (($(due_uptime) >= uptime))
}

# carry_out NAME: returns when the job is done, or given up.
carry_out() {
  local name=$1 try
  for ((try = 1; try <= tries; try++)); do
    printf '%s is due: try %s of %s\n' "$name" "$try" "$tries"
    if due_run "$name"; then
      printf '%s is done\n' "$name"
      return
    fi
    ((try == tries)) || read -r -t "$pause" -u 7
  done
  printf '%s failed and is given up; what it said is in %s\n' "$name" "$root/$name.log"
  mkdir -p -- "$root/due.failed"
  mv -fT -- "$root/due/$name" "$root/due.failed/$name"
}

# attend FILE: if nobody holds the lock. A session that does may still take the job back.
attend() {
  local name=${1##*/}
  { exec 9>>"$root/lock"; } 2>/dev/null || return
  if flock -n 9 && is_due "$1"; then
    { printf 'the host itself (%s) since %s\n' "$name" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$root/lock"; } 2>/dev/null
    case $name in
      # Those who write hold the lock: this one was cut off.
      *.new.*) rm -f -- "$1" ;;
      *) carry_out "$name" ;;
    esac
  fi
  exec 9>&-
}

this_boot=$(due_boot)
while :; do
  jobs=("$root"/due/*)
  if ((${#jobs[@]} == 0)) && [ "$how" = leave ]; then exit 0; fi
  for job in "${jobs[@]}"; do
    if is_due "$job"; then attend "$job"; fi
  done
  read -r -t 1 -u 7
done
