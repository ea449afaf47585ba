# shellcheck shell=bash
# Jobs that a host runs by itself when they are due, whoever has died by then: a library for the scripts that
# leave one and take it back, for the session, and the first half of what runs them (due_runner.sh). Uses `root`.
#
# A job is a bash script that needs nothing but itself, ROOT/due/NAME. Whoever holds the app's lock writes it,
# runs it and removes it; nobody else does. It looks like this:
#
#   # due EPOCH UPTIME BOOT       when: by the clock, for people, and in seconds since the host started, which
#                                 counts, because no clock can change it. After a restart of the host it is due at
#                                 once: whoever could have taken it back is gone.
#   # WORDS                       what it does, for people
#   …
#   # end                         without this line it was cut, and is not run

due_limit=1800

# due_at NAME SECONDS WORDS: what comes on standard input (a script, with all that it needs but `mark_token`) is due
# in so many seconds. When this returns it is on the disk. It replaces a job of the same name.
due_at() {
  [ -d "$root/due" ] || fail not-set-up "there is no folder $root/due" "fab setup"
  {
    due_stamp "$2"
    printf '# %s\n' "${3//[$'\n\r']/ }"
    # Whoever runs it has other surroundings than we, who know that it works with these.
    printf 'export HOME=%q PATH=%q\nmark_token=none\n' "$HOME" "$PATH"
    cat
    printf '\n# end\n'
  } | replace_file "$root/due/$1" 600
  rm -f -- "$root/due.failed/$1"
  due_settle
}

# due_extend NAME SECONDS: the job is due in so many seconds from now, and not before.
due_extend() {
  [ -e "$root/due/$1" ] || fail not-armed "there is no job $1 any more: it has been run" "fab status"
  {
    due_stamp "$2"
    tail -n +2 -- "$root/due/$1"
  } | replace_file "$root/due/$1" 600
  due_settle
}

# due_cancel NAME: the job is not run any more, not even after a loss of power.
due_cancel() {
  rm -f -- "$root/due/$1" "$root/due.failed/$1"
  due_settle
}

# due_run NAME: run the job now, and remove it when it succeeds. Returns its status; what it says goes to
# ROOT/NAME.log, which may be on a full disk.
due_run() {
  local status=0
  if ! due_is_whole "$root/due/$1"; then
    (due_log "$1" <<<"this job was cut and is not run: $root/due/$1")
    return 1
  fi
  timeout -k 10 "$due_limit" bash --norc --noprofile -p "$root/due/$1" </dev/null > >(
    exec 7>&- 9>&-
    due_log "$1"
  ) 2>&1 7>&- 9>&- || status=$?
  if ((status == 0)); then
    rm -f -- "$root/due/$1"
    due_settle
  fi
  return "$status"
}

# -- inside ---------------------------------------------------------------------------------------

due_stamp() {
  printf '# due %s %s %s\n' "$(($(date +%s) + $1))" "$(($(due_uptime) + $1))" "$(due_boot)"
}

# due_uptime: seconds since the host started.
due_uptime() {
  local seconds
  read -r seconds _ </proc/uptime
  printf '%s\n' "${seconds%.*}"
}

# due_boot: a word that is another one after each start of the host, or of the container that is one.
due_boot() {
  local kernel first
  read -r kernel </proc/sys/kernel/random/boot_id
  # The 22nd word is when process 1 began; the second, its name, may hold anything.
  read -r first </proc/1/stat
  read -ra first <<<"${first##*)}"
  printf '%s/%s\n' "$kernel" "${first[19]}"
}

due_is_whole() {
  local mark
  { read -r -N 6 mark <"$1"; } 2>/dev/null && [ "$mark" = '# due ' ] && [ "$(tail -n 1 -- "$1")" = '# end' ]
}

# due_settle: what was renamed or removed stays so after a loss of power.
due_settle() {
  sync -- "$root/due" 2>/dev/null || sync
}

# due_log NAME: what comes on standard input goes to the log. Where the log cannot take it, it is read all the
# same: who writes it must not die of that. The shell that it runs in has another output afterwards.
due_log() {
  local log=$root/$1.log line
  (($(stat -c %s -- "$log" 2>/dev/null || echo 0) < 1000000)) || rm -f -- "$log"
  { exec >>"$log" || exec >/dev/null; } 2>/dev/null
  {
    printf -- '-- %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "${line#$'\x1e'none }"; done
  } 2>/dev/null
}
