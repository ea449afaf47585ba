# shellcheck shell=bash
# What a person would look at first on a host where something is wrong. Changes nothing. A part that cannot be
# found out is left out: that must not hide the others.
#
#   diagnose.sh ROOT APP SERVES MANAGER PYTHON PROBE REQUEST STATES MODEL PORTS PART ALL LINKED…
#
# SERVES: "yes" where a service runs. PROBE and REQUEST: probe.py and what to ask; its $REVISION is filled in.
# STATES: haproxy_states.py, empty where no HAProxy stands in front. MODEL: where a release finds its model, empty
# where there is none. PORTS: NAME=PORT in one word for each. PART, ALL: how many seconds one part of it may take, and all
# together; a part that hangs is told as `unanswered`. LINKED: files that have to lie below shared/.

root=$(expand "$1") app=$2 serves=$3 manager=$4 python=$5 probe=$6 request=$7 states=$8 model=$9
ports=${10} part_seconds=${11} all_seconds=${12}
shift 12
SECONDS=0

# Whatever fails from here on may be what is looked for.
set +Ee +o pipefail
trap - ERR

# within SECONDS COMMAND…: so long and no longer.
within() {
  timeout -k 2 "$@" </dev/null
}

# few LINES: the last so many lines of the input, none of them long.
few() {
  tail -n "$1" | cut -c 1-500
}

# -- the machine ----------------------------------------------------------------------------------

look_at_machine() {
  emit now "$(date +%Y-%m-%dT%H:%M:%S)"
  emit user "$(id -un)"
  [ -d "$root" ] && emit set-up yes
  # Columns of df: file system, total, used, free, part, where it is mounted.
  within 10 df -Pk -- "$root" / /tmp /var 2>/dev/null |
    awk 'NR > 1 && !($6 in seen) { seen[$6]; print $6, $2, $4 }' | while read -r line; do emit disk "$line"; done
  within 10 df -Pi -- "$root" / /tmp /var 2>/dev/null |
    awk 'NR > 1 && $2 > 0 && !($6 in seen) { seen[$6]; print $6, $2, $4 }' | while read -r line; do emit inodes "$line"; done
  emit memory "$(awk '/^(MemTotal|MemAvailable|SwapTotal|SwapFree):/ { print substr($1, 1, length($1) - 1) "=" $2 }' /proc/meminfo | tr '\n' ' ')"
  emit load "$(cut -d ' ' -f 1-3 /proc/loadavg) $(nproc)"
  if [ -d "$root" ] && [ ! -w "$root" ]; then
    awk -v root="$root/" 'index(root, $2 == "/" ? "/" : $2 "/") == 1 { where = $2; how = $4 }
      END { if (("," how ",") ~ /,ro,/) print where }' /proc/self/mounts | while read -r line; do emit read-only "$line"; done
  fi
}

# kernel_log: what the kernel of this host wrote last, as far as we may see it.
kernel_log() {
  local words=(journalctl --no-pager -o short-iso -n 1000 -k)
  if ((EUID != 0)) && sudo -n -l "${words[@]}" >/dev/null 2>&1; then
    within 15 sudo -n "${words[@]}"
  else
    within 15 "${words[@]}" 2>/dev/null
  fi
}

look_at_kernel() {
  command -v journalctl >/dev/null || return 0
  kernel_log | awk -v since="$(date -d '1 day ago' +%Y-%m-%dT%H:%M:%S)" '/^[0-9]/ && substr($1, 1, 19) >= since' |
    grep -E 'Out of memory|oom-kill|NVRM: Xid|fallen off the bus|I/O error|Remounting filesystem read-only' | few 20 |
    emit_file kernel
}

look_at_gpus() {
  local said status=0
  command -v nvidia-smi >/dev/null || return 0
  # shellcheck disable=SC2016  # for the shell that runs it
  said=$(answer_of 20 sh -c 'exec nvidia-smi "$@" 2>&1' sh --query-gpu=index,name,uuid,memory.used,memory.total,temperature.gpu,ecc.errors.uncorrected.volatile.total --format=csv,noheader,nounits) || status=$?
  if ((status == 124)); then said="nvidia-smi gives no answer within 20 s"; fi
  emit gpu-status "$status"
  emit gpus "$(head -n 32 <<<"$said" | cut -c 1-300)"
}

# -- the release ----------------------------------------------------------------------------------

# say_link NAME PATH: where it leads to, and whether that is there.
say_link() {
  local state=ok
  if [ ! -L "$2" ] && [ ! -e "$2" ]; then state=missing; elif [ ! -e "$2" ]; then state=dangling; fi
  emit link "$1 $state $2 $(readlink -- "$2")"
}

look_at_release() {
  local env=$root/current/.aideploy/env said status=0 name place
  say_link current "$root/current"
  emit_journal 200
  [ -e "$root/current" ] || return 0
  emit release "$release"
  say_link venv "$root/current/.venv"
  if [ -e "$root/current/.venv" ] || [ -L "$root/current/.venv" ]; then
    said=$(within 15 "$root/current/.venv/bin/python" -I -c '' 2>&1) || status=$?
    emit interpreter "$status ${said%%$'\n'*}"
  fi
  [ -z "$model" ] || say_link model "$root/current/$model"
  if [ -r "$env" ]; then
    # Names alone. Inside of a value there is a backslash before each quotation mark.
    if grep -q '^REVISION="' -- "$env"; then
      emit variables "$(grep -oE '^[A-Za-z_][A-Za-z0-9_]*="' -- "$env" | tr -d '="' | tr '\n' ' ')"
      emit empty "$(grep -oE '^[A-Za-z_][A-Za-z0-9_]*=""$' -- "$env" | tr -d '="' | tr '\n' ' ')"
    else
      emit variables "$(grep -oE '^[A-Za-z_][A-Za-z0-9_]*=' -- "$env" | tr -d '=' | tr '\n' ' ')"
      emit empty "$(grep -oE '^[A-Za-z_][A-Za-z0-9_]*=$' -- "$env" | tr -d '=' | tr '\n' ' ')"
    fi
    place=$(sed -nE 's/^MODEL_DIR="?([^"]*)"?$/\1/p' "$env" | tail -n 1)
    [ -z "$place" ] || say_link model-dir "$place"
  elif [ "$serves" = yes ]; then
    emit no-env "$env"
  fi
  for name in "$@"; do
    [ -e "$root/shared/$name" ] || emit no-linked-file "$root/shared/$name"
  done
  emit_changes changed "$release"
}

# -- the service ----------------------------------------------------------------------------------

# say_units UNIT…: what systemd knows of each, NAME=VALUE NAME=VALUE in one line.
say_units() {
  local line facts=''
  while IFS= read -r line; do
    if [ -n "$line" ]; then
      facts+="$line "
    else
      emit unit "$facts"
      facts=''
    fi
  done < <(
    ask show --property=Id,LoadState,ActiveState,SubState,Result,NRestarts,ExecMainStatus,ExecMainCode \
      --property=ExecMainStartTimestampMonotonic,MemoryMax,MemoryCurrent,ControlGroup "$@"
    printf '\n'
  )
}

# say_group SLOT: what its control group counted: how often the kernel killed for want of memory.
say_group() {
  local group file
  group=$(ask show --property=ControlGroup --value "$app@$1.service")
  [ -n "$group" ] || return 0
  file=/sys/fs/cgroup$group/memory.events
  [ ! -r "$file" ] || emit oom-kills "$(awk '$1 == "oom_kill" { print $2 }' "$file")"
}

# say_port NAME PORT: who listens there, by the kernel's tables: nothing is connected to.
say_port() {
  local uid who=''
  uid=$(awk -v port="$(printf ':%04X' "$2")" '$4 == "0A" && substr($2, length($2) - 4) == port { print $8; exit }' \
    /proc/net/tcp /proc/net/tcp6 2>/dev/null)
  if [ -z "$uid" ]; then
    emit port "$1 $2 free"
    return
  fi
  if ((uid == EUID || EUID == 0)) && command -v ss >/dev/null; then
    who=$(ss -Hltnp "sport = :$2" 2>/dev/null | sed -nE 's/.*users:\(\("([^"]*)",pid=([0-9]+).*/\1 (process \2)/p' | head -n 1)
  fi
  emit port "$1 $2 taken $(id -nu "$uid" 2>/dev/null || printf '%s' "$uid") $who"
}

look_at_service() {
  local slot pair revision=''
  slot=$(slot_at live)
  emit slot "$slot"
  emit service "$(service_state "$slot")"
  if [ "$manager" = supervisor ]; then
    emit supervisor "$(within 10 supervisorctl status "$app-$slot" 2>&1 | head -n 1)"
  else
    say_units "$app@$slot.service" "$app-haproxy.service" "$app-haproxy.socket" "$app.socket" "$app-due.path"
    say_group "$slot"
    emit uptime "$(cut -d . -f 1 /proc/uptime)"
  fi
  service_log "$slot" 60 2>/dev/null | few 60 | emit_file log
  for pair in $ports; do say_port "${pair%%=*}" "${pair#*=}"; done
  if [ -n "$states" ]; then
    if said=$(within 15 "$python" -I -S -c "$states" "$root/haproxy" 2>&1); then
      emit haproxy "$said"
    else
      emit haproxy-silent "${said##*$'\n'}"
    fi
  fi
  [ -z "$release" ] || revision=$(revision_of "$release")
  if [ -n "$revision" ]; then
    if probe "$python" "$probe" "${request//\$REVISION/$revision}" >/dev/null; then emit healthy yes; else emit healthy no; fi
    emit health "$health"
  fi
}

# look NAME FUNCTION…: one part, in the time that it may take and that is left for all.
look() {
  local left=$((all_seconds - SECONDS))
  step "look at $1"
  part "$((left < part_seconds ? left : part_seconds))" "$@"
}

look "the machine" look_at_machine
look "the lock" emit_standing
# Of a folder that hangs even this may not come back.
release=$(answer_of 5 readlink -- "$root/current") release=${release##*/}
look "the release" look_at_release "$@"
[ "$serves" != yes ] || look "the service" look_at_service
look "the kernel" look_at_kernel
look "the GPUs" look_at_gpus
exit 0
