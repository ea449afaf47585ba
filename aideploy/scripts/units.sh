# shellcheck shell=bash
# The service of an app under systemd, the same in both scopes. A library, behind slots.sh and
# manager_systemd.sh or manager_systemd_user.sh, which define what depends on the scope:
#
#   units_folder, change VERB UNIT, may_change VERB UNIT, ask WORD…, read_log WORD…
#
# SLOT is live or staged, or, behind HAProxy, blue or green.

# service_start SLOT: returns when the service runs, which does not say that it is healthy. Returns 1
# when systemd could not start it.
service_start() {
  require_release "$1"
  hold_address "$1"
  apply start "$app@$1.service"
}

# service_restart SLOT: like service_start, with the release that the slot points to now.
service_restart() {
  require_release "$1"
  hold_address "$1"
  apply restart "$app@$1.service"
}

# service_stop SLOT: returns when nothing of it runs any more. The live slot also closes its
# socket; to keep waiting connections, restart it instead.
service_stop() {
  if is_behind_socket "$1"; then
    apply stop "$app.socket"
  fi
  apply stop "$app@$1.service"
}

# service_end SLOT: like service_stop, but it returns at once.
service_end() {
  change --no-block stop "$app@$1.service" || service_stop "$1"
}

# service_state SLOT: prints active, activating, failed, inactive or missing. What is on its way
# to another state, up or down, is activating.
service_state() {
  local property load='' active=''
  while IFS= read -r property; do
    case $property in
      LoadState=*) load=${property#*=} ;;
      ActiveState=*) active=${property#*=} ;;
    esac
  done < <(ask show --property=LoadState --property=ActiveState "$app@$1.service")
  case $load:$active in
    not-found:* | :*) printf 'missing\n' ;;
    *:active | *:reloading) printf 'active\n' ;;
    *:activating | *:deactivating) printf 'activating\n' ;;
    *:failed) printf 'failed\n' ;;
    *) printf 'inactive\n' ;;
  esac
}

# service_pid SLOT: prints the process id of the server, or 0.
service_pid() {
  ask show --property=MainPID --value "$app@$1.service"
}

# service_log SLOT LINES [MOMENT]: prints the last of what it wrote, at most 1000 lines; since a moment
# if one is given.
service_log() {
  # Not by journalctl --since: sudo allows these very arguments and no others.
  read_log --no-pager -o short-iso -n 1000 -u "$app@$1.service" |
    awk -v since="${3-}" '/^[0-9]/ { recent = (substr($1, 1, 19) >= since) } recent' | tail -n "$2"
}

# service_moment SLOT: prints this moment, for service_log, as journalctl -o short-iso does.
service_moment() {
  date +%Y-%m-%dT%H:%M:%S
}

# service_follow SLOT: prints the last 1000 lines and then what comes, until it is ended.
service_follow() {
  read_log --no-pager -o short-iso -n 1000 -f -u "$app@$1.service"
}

# due_runs: whether this host runs what is due (see due.sh).
due_runs() {
  ask is-active --quiet "$app-due.path"
}

# service_additions: prints the files, none of ours, that change what our units do: drop-ins, and copies that
# `systemctl edit --full` makes of a slot's unit. What applies to all units of the host is its own affair.
service_additions() {
  local paths path units=("$app.socket" "$app-due.path" "$app-due.service" "$app-drift.timer" "$app-drift.service" "$app-haproxy.service" "$app-haproxy.socket")
  ask show --property=DropInPaths --property=FragmentPath "${units[@]}" "$app"@{live,staged,blue,green}.service |
    sed 's/^[A-Za-z]*=//' | while IFS= read -r paths; do
    for path in $paths; do
      case $path in
        */"$app"[.@-]*.d/*.conf | */"$app"@?*.service) [[ $path == *"/$app@.service" ]] || printf '%s\n' "$path" ;;
      esac
    done
  done | sort -u
}

# -- inside -------------------------------------------------------------------------------------

# is_behind_socket SLOT: setup installs a socket where the strategy is one, and removes it elsewhere.
is_behind_socket() {
  [ "$1" = live ] && [ -e "$units_folder/$app.socket" ]
}

# hold_address SLOT: the socket of the live slot listens from here on. It cannot be opened while the
# service already runs.
hold_address() {
  is_behind_socket "$1" || return 0
  ask is-active --quiet "$app.socket" && return
  apply stop "$app@live.service"
  apply start "$app.socket"
}

# apply VERB UNIT: returns 1 when systemd did try. Fails when the host was not set up for it.
apply() {
  change "$1" "$2" && return
  [ "$(ask show --property=LoadState --value "$2")" != not-found ] ||
    fail not-set-up "this host has no unit $2" "fab setup"
  may_change "$1" "$2" ||
    fail no-sudo "$(id -un) may not say: systemctl $1 $2" "fab setup"
  # Perhaps systemd guards against a crash loop, of which it cannot say so afterwards; whoever starts
  # it on purpose is none.
  [ "$1" != stop ] && change reset-failed "$2" && change "$1" "$2"
}
