# shellcheck shell=bash
# Who has the lock of this host, and what it is about to do by itself. A library. Uses `root`.

# emit_standing: facts held, lock, rollout, and for each job of due.sh one due, or given-up.
emit_standing() {
  local job key words at
  [ ! -s "$root/held" ] || emit held "$(head -n 1 -- "$root/held")"
  # Shared, so that two who ask are not in each other's way.
  if [ -r "$root/lock" ] && ! flock -s -n "$root/lock" true; then
    emit lock "$(head -n 1 -- "$root/lock")"
  fi
  [ ! -s "$root/rollout/held" ] || emit rollout held

  # What it is about to do by itself, and what it tried in vain; see due.sh.
  for job in "$root"/due/* "$root"/due.failed/*; do
    key=due words=''
    [[ $job != */due.failed/* ]] || key=given-up
    { read -r _ _ at _ && read -r _ words; } 2>/dev/null <"$job" || true
    [ -z "$words" ] || emit "$key" "$(basename -- "$job") $at $words"
  done
}
