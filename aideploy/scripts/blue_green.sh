# shellcheck shell=bash
# The strategy blue_green: two slots behind an HAProxy of our own. A library behind those of the service manager,
# with the same functions as in_place.sh. Uses what stage.sh and switch.sh set.
#
# The disk alone says what is what, so that the host's restart changes nothing; HAProxy is told (steer.py):
#
#   slots/SLOT/release   what the slot runs; the one whose release is `current` is live
#   slots/SLOT/on        it runs on purpose: live, or standing by with the old release. What is only being
#                        proven has no such file, gets no request and does not come back with the host.
#   haproxy/share        the slot that gets a share of the requests, for when HAProxy is started again; steer.py's own
#
# Whoever starts a second release leaves a job (due.sh) that stops what is not live; it is due as soon as the lock
# is free, however that comes, unless the end of a deploy gives it more time.

# require_setup: the host was set up for this strategy.
require_setup() {
  [ -e "$root/haproxy/steer.py" ] ||
    fail not-set-up "this host is not set up for the strategy blue_green" "fab setup"
}

# require_address ADDRESS: the host was set up to serve there. Otherwise a release would be asked where it is not.
require_address() {
  local set_up
  set_up=$(ask show --property=Listen "$app-haproxy.socket" 2>/dev/null) || return 0
  # A template of the user's may listen at several; the address is the word before its kind.
  set_up=$(sed -E 's/^Listen=//; s/ \(.*//' <<<"$set_up")
  [ -z "$set_up" ] || same_address "$set_up" "$1"
}

# slot_at PLACE: prints the slot that is "live", or the other one, where a release is "staged". Where nothing is
# live, both are the first.
slot_at() {
  case $1 in
    live) if is_live green; then printf 'green\n'; else printf 'blue\n'; fi ;;
    staged) if is_live blue; then printf 'green\n'; else printf 'blue\n'; fi ;;
  esac
}

# kept_slot: prints the slot in which the old release still runs, standing by.
kept_slot() {
  local slot
  for slot in blue green; do
    is_live "$slot" || [ ! -e "$root/slots/$slot/on" ] || printf '%s\n' "$slot"
  done
}

# prove_beside RELEASE: start it in the slot that is not live and ask it whether it is well. It stays there for
# the switch.
prove_beside() {
  require_setup
  require_haproxy
  prove_in "$(slot_at staged)" "$1"
}

# go_live RELEASE DIRECTION: requests go to it from one moment to the next; returns when it is well. It is started only
# where no slot runs it. On the way back the release that is left is stopped.
go_live() {
  local slot left
  require_setup
  require_haproxy
  ensure_runs "$1"
  : >"$root/slots/$slot/on"
  left=$(other "$slot")
  replace_link "releases/$1" "$root/current"
  steer settle
  probe "$python" "$probe" "$request" "$(service_pid "$slot")" || unwell "$slot" "after the switch: $health"
  if [ "$2" = back ]; then
    # Who is just being answered loses nothing. A release that hangs is not waited for: who asked it is better off
    # when it is gone and another one answers.
    rest_slot "$left" 2
    end_slot "$left"
  else
    leave_stop_old
  fi
}

# go_dark: nothing is live any more.
go_dark() {
  require_setup
  rm -f -- "$root/current" "$root"/slots/{blue,green}/on
  steer settle
  end_slot blue
  end_slot green
}

# keep_old SECONDS: for so long the old release stands by.
keep_old() {
  local slot
  slot=$(kept_slot)
  [ -z "$slot" ] ||
    due_at stop-old "$1" "stops $(release_in "$slot"), which stands by" <<<"$stop_old"
}

# stop_old: stop every slot that is not live. While a rollout is held for a person to decide, what stands by goes on.
stop_old() {
  local slot
  for slot in blue green; do
    if is_live "$slot" || [ ! -L "$root/slots/$slot/release" ]; then continue; fi
    if [ -e "$root/rollout/held" ] && [ -e "$root/slots/$slot/on" ]; then continue; fi
    step "stop $(release_in "$slot") in the slot $slot"
    retire "$slot"
  done
}

# share RELEASE PERCENT: what is not live yet gets so many of 100 requests, until the next switch; sets `slot`. `current`
# stays, and what settles HAProxy, or starts the host again, gives everything to the live slot.
share() {
  require_setup
  require_haproxy
  ensure_runs "$1"
  traffic_weight "$slot" "$2"
}

# traffic_weight SLOT PERCENT: that slot gets so many of 100 requests, the other one the rest, until the next switch.
traffic_weight() {
  steer weight "$1" "$2"
}

# -- inside ---------------------------------------------------------------------------------------

other() {
  if [ "$1" = blue ]; then printf 'green\n'; else printf 'blue\n'; fi
}

is_live() {
  [ -e "$root/current" ] && [ "$root/slots/$1/release" -ef "$root/current" ]
}

release_in() {
  basename -- "$(readlink -- "$root/slots/$1/release")"
}

# slot_with RELEASE: prints the slot that has it.
slot_with() {
  local slot
  for slot in blue green; do
    if [ "$root/slots/$slot/release" -ef "$root/releases/$1" ]; then
      printf '%s\n' "$slot"
      return
    fi
  done
}

# ensure_runs RELEASE: where no slot runs it, it is started and proven; sets `slot`.
ensure_runs() {
  slot=$(slot_with "$1")
  if [ -z "$slot" ] || [ "$(service_state "$slot")" != active ]; then
    slot=${slot:-$(slot_at staged)}
    prove_in "$slot" "$1"
  fi
}

# prove_in SLOT RELEASE
prove_in() {
  retire "$1"
  leave_stop_old
  replace_link "../../releases/$2" "$root/slots/$1/release"
  # shellcheck disable=SC2064  # this slot, whatever $1 is by then
  trap "empty_slot $1" EXIT
  prove "$1" "$python" "$probe" "$slot_request" "the new release is not healthy: " start_unproven
  golden "$1" "$python" "$golden" "$golden_request" "$root/releases/$2/$golden_file" "the new release is not ready: "
  trap - EXIT
}

# leave_stop_old: what is not live is stopped as soon as nobody holds the lock.
leave_stop_old() {
  # On the way back the disk may be full, and the one that the switch left does as well.
  if [ "${direction-}" = back ] && due_is_whole "$root/due/stop-old"; then return; fi
  due_at stop-old 0 "stops the release that is not live" <<<"$stop_old"
}

# service_start_unproven SLOT: systemd wants the file `on` for a start, and finds it gone at each later one.
service_start_unproven() {
  local status=0
  : >"$root/slots/$1/on"
  service_start "$1" || status=$?
  rm -f -- "$root/slots/$1/on"
  return "$status"
}

# retire SLOT: no new request goes there; what is under way may end, then the service is stopped.
retire() {
  # A share that it still has was left by a way back that failed.
  if [ -e "$root/slots/$1/on" ] || [ -e "$root/haproxy/share" ]; then
    rest_slot "$1" "$stop_seconds"
  fi
  empty_slot "$1"
}

# rest_slot SLOT SECONDS: no new request goes there; returns when none is under way, or after so many seconds.
rest_slot() {
  rm -f -- "$root/slots/$1/on"
  steer settle
  steer drain "$1" "$2"
}

# empty_slot SLOT: returns when nothing of it runs any more.
empty_slot() {
  [ "$(service_state "$1")" = inactive ] || service_stop "$1"
  rm -f -- "$root/slots/$1/release"
}

# end_slot SLOT: like empty_slot, but it ends by itself, as fast as it likes.
end_slot() {
  [ "$(service_state "$1")" = inactive ] || service_end "$1"
  rm -f -- "$root/slots/$1/release"
}

steer() {
  local answer
  answer=$("$python" -I -S "$root/haproxy/steer.py" "$root" "$@" 2>&1) ||
    fail no-haproxy "the HAProxy of $app does not do as it is told: $answer" \
      "on that host: systemctl status $app-haproxy"
}

# require_haproxy: it runs; one that was stopped is started.
require_haproxy() {
  ask is-active --quiet "$app-haproxy.service" || apply start "$app-haproxy.service" ||
    fail no-haproxy "the HAProxy of $app does not start" "on that host: systemctl status $app-haproxy"
}
