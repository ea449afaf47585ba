# shellcheck shell=bash
# The strategies recreate and socket: one slot is live, and restarts with another release. A library behind those
# of the service manager, with the same functions as blue_green.sh.

# require_setup: the host was set up for this strategy.
require_setup() {
  [ -e "$root/slots/live" ] ||
    fail not-set-up "this host is not set up for the strategy in hosts.toml" "fab setup"
}

# slot_at PLACE: prints the slot that is "live", or where a release is "staged".
slot_at() {
  printf '%s\n' "$1"
}

# prove_beside RELEASE PYTHON PROBE REQUEST [STOP_OLD]: start it in the staged slot, ask it whether it is well, stop it.
prove_beside() {
  require_setup
  replace_link "../../releases/$1" "$root/slots/staged/release"
  # A staged service that a dead deploy left is not ours to ask.
  [ "$(service_state staged)" = inactive ] || service_stop staged
  # However this ends, nobody is left to ask it anything; what a SIGKILL leaves, the next deploy stops.
  trap 'service_stop staged' EXIT
  prove staged "$2" "$3" "$4" "the new release is not healthy: " start
  trap - EXIT
  service_stop staged
  rm -f -- "$root/slots/staged/release"
}

# go_live RELEASE DIRECTION PYTHON PROBE REQUEST …: returns when it is live and well.
go_live() {
  require_setup
  replace_link "releases/$1" "$root/current"
  prove live "$3" "$4" "$5" "after the switch: " restart
}

# go_dark: nothing is live any more.
go_dark() {
  service_stop live
  rm -f -- "$root/current"
}
