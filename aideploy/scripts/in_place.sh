# shellcheck shell=bash
# The strategies recreate and socket: one slot is live, and restarts with another release. A library behind those
# of the service manager, with the same functions as blue_green.sh. Uses what release.sh, stage.sh and switch.sh set.

# require_setup: the host was set up for this strategy.
require_setup() {
  [ -e "$root/slots/live" ] ||
    fail not-set-up "this host is not set up for the strategy in hosts.toml" "fab setup"
}

# require_address ADDRESS: the host was set up to serve there. Otherwise a release would be asked where it is not.
require_address() {
  local set_up=$root/slots/live/env
  [ ! -e "$set_up" ] || same_address "$(
    # shellcheck source=/dev/null  # written by fab setup
    . "$set_up"
    printf '%s:%s' "${BIND-}" "${PORT-}"
  )" "$1"
}

# slot_at PLACE: prints the slot that is "live", or where a release is "staged".
slot_at() {
  printf '%s\n' "$1"
}

# prove_beside RELEASE: start it in the staged slot, ask it whether it is well, stop it.
prove_beside() {
  require_setup
  replace_link "../../releases/$1" "$root/slots/staged/release"
  # A staged service that a dead deploy left is not ours to ask.
  [ "$(service_state staged)" = inactive ] || service_stop staged
  # However this ends, nobody is left to ask it anything; what a SIGKILL leaves, the next deploy stops.
  trap 'service_stop staged' EXIT
  prove staged "$python" "$probe" "$slot_request" "the new release is not healthy: " start
  golden staged "$python" "$golden" "$golden_request" "$root/releases/$1/$golden_file" "the new release is not ready: "
  trap - EXIT
  service_stop staged
  rm -f -- "$root/slots/staged/release"
}

# go_live RELEASE DIRECTION: returns when it is live and well. On or back makes no difference here.
go_live() {
  require_setup
  replace_link "releases/$1" "$root/current"
  [ -z "$gpu" ] || free_gpus "$2"
  prove live "$python" "$probe" "$request" "after the switch: " restart
  golden live "$python" "$golden" "$golden_request" "$root/current/$golden_file" "after the switch: "
}

# free_gpus DIRECTION: stop the service, and return when the memory that it had on GPUs is free. On the way back
# it is tried in any case.
free_gpus() {
  local before answer status=0
  before=$("$python" -I -c "$gpu" look "$(service_pid live)")
  service_stop live
  step "wait until the GPU's memory is free"
  answer=$("$python" -I -c "$gpu" wait "$before" "$gpu_seconds" 2>&1) || status=$?
  printf '%s\n' "$answer"
  ((status == 0)) || [ "$1" = back ] ||
    fail gpu-busy "${answer##*$'\n'}" "on that host: nvidia-smi says who has it; end that process, then fab deploy"
}

# go_dark: nothing is live any more.
go_dark() {
  service_stop live
  rm -f -- "$root/current"
}
