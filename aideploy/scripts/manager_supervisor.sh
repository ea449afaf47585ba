# shellcheck shell=bash
# The service of an app under supervisor, for hosts without systemd. A library behind slots.sh, with
# the same functions as units.sh. SLOT is live or staged.

# service_start SLOT: returns when the service has run for a second, which does not say that it is
# healthy. Returns 1 when supervisor could not start it.
service_start() {
  require_release "$1"
  control start "$1"
}

# service_restart SLOT: like service_start, with the release that the slot points to now.
service_restart() {
  require_release "$1"
  control restart "$1"
}

# service_stop SLOT: returns when nothing of it runs any more.
service_stop() {
  control stop "$1"
}

# service_state SLOT: prints active, activating, failed, inactive or missing. What is on its way
# to another state, up or down, is activating.
service_state() {
  local state
  read -r _ state _ <<<"$(supervisorctl status "$app-$1" || true)"
  case $state in
    RUNNING) printf 'active\n' ;;
    STARTING | BACKOFF | STOPPING) printf 'activating\n' ;;
    STOPPED | EXITED) printf 'inactive\n' ;;
    FATAL | UNKNOWN) printf 'failed\n' ;;
    *) printf 'missing\n' ;;
  esac
}

# service_pid SLOT: prints the process id of the server, or 0.
service_pid() {
  supervisorctl pid "$app-$1"
}

# service_log SLOT LINES [MOMENT]: prints the last of what it wrote, since a moment if one is given.
service_log() {
  local log=$root/slots/$1/log skip=${3:-0}
  [ -f "$log" ] || return 1
  # A log that is shorter than it was has been rotated.
  (($(stat -c %s -- "$log") >= skip)) || skip=0
  tail -c "+$((skip + 1))" -- "$log" | tail -n "$2"
}

# service_moment SLOT: prints this moment, for service_log.
service_moment() {
  stat -c %s -- "$root/slots/$1/log" 2>/dev/null || printf '0\n'
}

# service_follow SLOT: prints the last 1000 lines and then what comes, until it is ended.
service_follow() {
  tail -n 1000 -F -- "$root/slots/$1/log"
}

# due_runs: whether this host runs what is due (see due.sh).
due_runs() {
  local state
  read -r _ state _ <<<"$(supervisorctl status "$app-due" || true)"
  [ "$state" = RUNNING ] || [ "$state" = STARTING ]
}

# service_additions: supervisor's programs are what their file says, and nothing besides.
service_additions() {
  :
}

# control VERB SLOT: returns 1 when supervisor did try. Fails when the host was not set up for it.
control() {
  local answer status=0
  command -v supervisorctl >/dev/null ||
    fail not-set-up "there is no supervisorctl on the path of $(id -un)" "install supervisor on the host"
  answer=$(supervisorctl "$1" "$app-$2" 2>&1) || status=1
  printf '%s\n' "$answer"
  case $answer in
    *"(no such process)"*) fail not-set-up "supervisor has no program $app-$2" "fab setup" ;;
    *://*"no such file"* | *"refused connection"*)
      fail not-set-up "supervisord does not answer" "start supervisord on the host"
      ;;
    *"Permission denied"*)
      fail no-sudo "$(id -un) may not speak to supervisord" \
        "let that user write to its socket ([unix_http_server] in its configuration)"
      ;;
  esac
  return "$status"
}
