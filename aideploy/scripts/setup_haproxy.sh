# shellcheck shell=bash
# What setup does about HAProxy and the strategies that it stands for, or does not. A library in front of setup.sh, whose
# variables and functions it uses.

# -- looking --------------------------------------------------------------------------------------

# have_haproxy: the program is there, or is installed.
have_haproxy() {
  local manager
  if command -v haproxy >/dev/null && { ! is_kept_off || ! may_be_root; }; then return; fi
  manager=$(package_manager)
  if [ -z "$manager" ] || ! may_be_root; then
    fail no-haproxy "the strategy blue_green needs HAProxy, which is not installed" "$ways_out"
  fi
  keep_service_off
  if ! install_package haproxy; then
    leave_service_off
    fail no-haproxy "HAProxy could not be installed: $why" "$ways_out"
  fi
  leave_service_off
  hash -r
  command -v haproxy >/dev/null ||
    fail no-haproxy "${manager##*/} installed HAProxy, and there is no program haproxy" "$ways_out"
  changed "HAProxy installed"
}
ways_out='install the package haproxy on that host, or choose [serve] strategy = "recreate" or "socket"'

# keep_service_off: the HAProxy that the package starts might take ports, with a configuration that was left there. One that
# the host has already is none of our business.
keep_service_off() {
  if [ "$(systemctl show --property=LoadState --value haproxy.service 2>/dev/null)" = loaded ]; then return; fi
  as_root systemctl --quiet --runtime mask haproxy.service 2>/dev/null
}

# is_kept_off: also by a setup that was ended while it installed.
is_kept_off() {
  [ "$(systemctl is-enabled haproxy.service 2>/dev/null)" = masked-runtime ]
}

# leave_service_off: it may be started by whoever wants it.
leave_service_off() {
  is_kept_off || return 0
  as_root systemctl --quiet --runtime unmask haproxy.service
  as_root systemctl --quiet disable --now haproxy.service 2>/dev/null || true
}

# haproxy_problems FILE: what HAProxy has against this configuration.
haproxy_problems() {
  local answer
  answer=$(FRONT=${addresses%% *} haproxy -c -C "${1%/*}" -f "$1" 2>&1) ||
    grep -F -e ALERT <<<"$answer" || printf 'haproxy -c: %s\n' "$answer"
}

# check_addresses: nobody else listens where the service will.
check_addresses() {
  local address ours
  ours=$(our_ports)
  for address in $addresses; do
    if [[ " $ours " == *" ${address##*:} "* ]] || ! listens "$(reached "${address%:*}")" "${address##*:}"; then continue; fi
    fail port-taken "port ${address##*:} is taken by $(listener "${address##*:}")" \
      "end that program, or choose other ports in [serve]"
  done
}

# our_ports: prints the ports on which this app listens now, each between spaces.
our_ports() {
  local file slot unit
  if [ "$manager" = supervisor ]; then
    for slot in live staged; do
      [[ $(supervisorctl status "$app-$slot" 2>/dev/null) != *RUNNING* ]] || port_in "$root/slots/$slot/env"
    done
    return
  fi
  for file in "$root"/slots/*/env; do
    slot=${file%/env}
    ! ask is-active --quiet "$app@${slot##*/}.service" || port_in "$file"
  done
  for unit in "$app.socket" "$app-haproxy.socket"; do
    ! ask is-active --quiet "$unit" || port_in "$units_folder/$unit"
  done
  ! ask is-active --quiet "$app-haproxy.service" || port_in "$root/haproxy/haproxy.cfg"
}

# port_in FILE: prints the port that a slot's file, a socket unit or HAProxy's configuration names.
port_in() {
  sed -nE 's/^(PORT="|ListenStream=.*:|    bind [0-9.]+:)([0-9]+)"?$/\2/p' -- "$1" 2>/dev/null | tr '\n' ' '
}

reached() {
  case $1 in
    0.0.0.0) printf '127.0.0.1\n' ;;
    *) printf '%s\n' "$1" ;;
  esac
}

# -- doing ----------------------------------------------------------------------------------------

# hand_address_to_haproxy: what is live moves into a slot, HAProxy gets the address, and follows its settings.
hand_address_to_haproxy() {
  if is_slot_left_over; then
    enter_haproxy
  elif ! ask is-active --quiet "$app-haproxy.socket" || ! ask is-active --quiet "$app-haproxy.service"; then
    step "starting the HAProxy of $app"
    control start "$app-haproxy.socket"
    start_haproxy
    changed "$app-haproxy started"
  elif were_slots_replaced; then
    move_slots
  elif was_replaced "$units_folder/$app-haproxy.socket" || was_replaced "$units_folder/$app-haproxy.service"; then
    step "restarting the HAProxy of $app: what is under way is cut, new requests wait"
    restart_haproxy
  elif was_replaced "$root/haproxy/haproxy.cfg"; then
    control reload "$app-haproxy.service"
    changed "$app-haproxy reloaded"
  fi
}

# restart_haproxy: a socket cannot be restarted under a service that has it.
restart_haproxy() {
  control stop "$app-haproxy.service"
  control restart "$app-haproxy.socket"
  start_haproxy
  changed "$app-haproxy restarted"
}

start_haproxy() {
  control start "$app-haproxy.service" ||
    fail no-haproxy "the HAProxy of $app does not start" "on that host: systemctl status $app-haproxy"
}

were_slots_replaced() {
  was_replaced "$root/slots/blue/env" || was_replaced "$root/slots/green/env"
}

# move_slots: the slots have other ports.
move_slots() {
  local slot
  step "moving the slots to their new ports: requests are refused until the service has started"
  for slot in blue green; do
    if [ -e "$root/slots/$slot/on" ]; then control restart "$app@$slot.service"; fi
  done
  # It names the old ports.
  rm -f -- "$root/haproxy/state"
  restart_haproxy
}

# enter_haproxy: from recreate or socket. The release is started in a slot before the address changes hands.
enter_haproxy() {
  local address
  if [ -e "$root/current" ]; then
    step "moving the service behind HAProxy: requests are refused for a moment"
    replace_link "../../$(readlink -- "$root/current")" "$root/slots/blue/release"
    : >"$root/slots/blue/on"
    control start "$app@blue.service"
    address=${addresses#* }
    wait_for_listener "${address%% *}"
  fi
  control stop "$app@staged.service"
  control --quiet disable --now "$app@live.service"
  control start "$app-haproxy.socket"
  start_haproxy
  rm -rf -- "$root/slots/live" "$root/slots/staged"
  changed "$app moved behind HAProxy"
}

# wait_for_listener ADDRESS: at most for as long as a slow service takes to start.
wait_for_listener() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    ! listens "${1%:*}" "${1##*:}" || return 0
    sleep 0.1
  done
  emit notice "$app does not listen on $1 yet, a minute after its start"
}

# leave_haproxy: to recreate or socket. The address is free before the service can have it.
leave_haproxy() {
  local slot unit
  step "taking the service out from behind HAProxy: requests are refused until it has started"
  control --quiet disable --now "$app-haproxy.service" "$app-haproxy.socket"
  if [ -e "$root/current" ]; then
    # It cannot be opened under a service that runs.
    [ "$strategy" != socket ] || control start "$app.socket"
    control start "$app@live.service"
  fi
  for slot in blue green; do
    control --quiet disable --now "$app@$slot.service"
  done
  for unit in "$app-haproxy.service" "$app-haproxy.socket"; do
    rm -f -- "$units_folder/$unit" 2>/dev/null || as_root rm -f -- "$units_folder/$unit"
  done
  control daemon-reload
  rm -rf -- "$root/haproxy" "$root/slots/blue" "$root/slots/green" "$root/due/stop-old"
  changed "$app moved out from behind HAProxy"
}
