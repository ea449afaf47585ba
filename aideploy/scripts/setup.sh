# shellcheck shell=bash
# Make this host ready to be deployed to: folders, the service's user, configuration files, the
# service manager. Run again it changes nothing.
#
#   setup.sh ROOT APP MANAGER STRATEGY SERVICE_USER ADDRESSES TARGETS TEXTFILE METRIC_FILES \
#            COUNT LINKED…
#            [PATH MODE VALIDATOR CONTENT]…
#
# MANAGER: systemd, systemd-user, supervisor, or none where nothing is served. SERVICE_USER: empty when
# the service runs as us. ADDRESSES: what the service listens on, ADDRESS:PORT in one word each; first that for users. TARGETS: the
# folder for Prometheus' targets, or empty. TEXTFILE: node_exporter's folder, or empty. METRIC_FILES: what is told to it,
# files below ROOT in one word. LINKED: COUNT files and, with a / at the end, folders that releases share.
# The rest are configuration files. Emits `changed` for all that it makes or replaces, in words, and
# `notice` for what is left to a person. Before it changes anything it knows that it may.

root=$1 app=$2 manager=$3 strategy=$4 service_user=$5 addresses=$6 targets=$7
textfile=$(expand "$8") metric_files=$9
linked=("${@:11:${10}}")
shift $((10 + ${10}))

# Administrators' programs are not on the path of everybody.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
umask 022
me=$(id -un) my_group=$(id -gn)
case $manager in
  systemd) units_folder=/etc/systemd/system ;;
  systemd-user)
    units_folder=$HOME/.config/systemd/user
    # A command sent over SSH is no login session: it may not be told where its user's systemd is.
    export XDG_RUNTIME_DIR=/run/user/$EUID
    ;;
  *) units_folder='' ;;
esac

changed() {
  emit changed "$1"
}

# -- looking --------------------------------------------------------------------------------------

# The files as they should be, by their names, and those of them that have to be put in place.
wanted=$(mktemp -d)
trap 'rm -rf -- "$wanted"' EXIT
stale_targets=() stale_files=() stale_modes=() units=() sudoers=() haproxy=()

look_at_files() {
  local path mode validator file number=0
  while (($#)); do
    path=$(target "$1") mode=$2 validator=$3
    # A folder of its own each; units lie together, because they name each other.
    file=$wanted/$((++number))/${path##*/}
    [ "$validator" != unit ] || file=$wanted/units/${path##*/}
    mkdir -p -- "${file%/*}"
    printf '%s' "$4" >"$file" || fail no-space "cannot write below ${wanted%/*}" "make room on the disk of the host"
    case $validator in
      unit) units+=("$file") ;;
      sudoers) sudoers+=("$file") ;;
      haproxy) haproxy+=("$file") ;;
    esac
    if ! is_installed "$file" "$path" "$mode"; then
      stale_files+=("$file") stale_targets+=("$path") stale_modes+=("$mode")
    fi
    shift 4
  done
}

# is_installed FILE PATH MODE
is_installed() {
  case $(state_of "$2") in
    there) cmp -s -- "$1" "$2" && [ "$(stat -c %a -- "$2")" = "$3" ] ;;
    missing) false ;;
    unreadable)
      if may_be_root; then
        as_root cmp -s -- "$1" "$2" && [ "$(as_root stat -c %a -- "$2")" = "$3" ]
      else
        rights_are_granted "$1"
      fi
      ;;
  esac
}

# rights_are_granted FILE: whether sudo already allows every command of this sudoers file.
rights_are_granted() {
  local line words
  while IFS= read -r line; do
    [[ $line == *NOPASSWD:\ * ]] || continue
    read -ra words <<<"${line#*NOPASSWD: }"
    sudo -n -l "${words[@]}" >/dev/null 2>&1 </dev/null || return 1
  done <"$1"
}

control() {
  if [ "$manager" = systemd-user ]; then systemctl --user "$@"; else as_root systemctl "$@"; fi
}

ask() {
  if [ "$manager" = systemd-user ]; then systemctl --user "$@"; else systemctl "$@"; fi
}

lacks_service_user() {
  [ -n "$service_user" ] && ! getent passwd "$service_user" >/dev/null
}

check_root_folder() {
  [ -e "$root" ] || [ -L "$root" ] || return 0
  [ -d "$root" ] || fail wrong-root "$root is there and is no folder" "choose another deploy_to"
  [ -O "$root" ] || fail wrong-owner "$root belongs to $(stat -c %U -- "$root"), not to $me" \
    "give it to $me (chown), log in as its owner, or choose another deploy_to"
}

# is_writable PATH: whether we may make it ourselves.
is_writable() {
  local path=$1
  until [ -e "$path" ]; do
    path=${path%/*}
    path=${path:-/}
  done
  [ -w "$path" ]
}

# needs_root: whether anything is left to do that only root may do.
needs_root() {
  local path item
  lacks_service_user && return
  for path in "$root" "${stale_targets[@]%/*}"; do
    is_writable "$path" || return 0
  done
  [ -z "$targets" ] || [ -d "$targets" ] || is_writable "$targets" || return 0
  ! lacks_metric_links || [ -w "$textfile" ] || return 0
  if [ -n "$service_user" ]; then
    has_group "$root/releases" "$service_user" || return 0
    for item in "${linked[@]}"; do
      [[ $item != */ ]] || has_group "$root/shared/${item%/}" "$service_user" || return 0
    done
    [ "$strategy" != blue_green ] || has_group "$root/haproxy" "$service_user" || return 0
    ! tells_drift || has_group "$root/drift" "$service_user" || return 0
  fi
  [ "$manager" = systemd ] || return 1
  # HAProxy is told of each change.
  [ "$strategy" != blue_green ] || ((${#stale_files[@]} == 0)) || return 0
  is_left_over || lacks_units
}

# has_group FOLDER GROUP
has_group() {
  [ -d "$1" ] && [ "$(stat -c %G -- "$1")" = "$2" ]
}

# is_left_over: something is there of a strategy that was given up.
is_left_over() {
  is_socket_left_over || is_haproxy_left_over || is_slot_left_over || is_drift_left_over
}

is_socket_left_over() {
  [ "$strategy" != socket ] && [ -e "$units_folder/$app.socket" ]
}

is_haproxy_left_over() {
  [ "$strategy" != blue_green ] && [ -e "$units_folder/$app-haproxy.service" ]
}

# is_slot_left_over: the slots of the strategies without HAProxy, where there is one.
is_slot_left_over() {
  [ "$strategy" = blue_green ] && [ -e "$root/slots/live" ]
}

# wanted_units: prints what starts with the host.
wanted_units() {
  printf '%s\n' "$app-due.path"
  ! tells_drift || printf '%s\n' "$app-drift.timer"
  case $strategy in
    blue_green) printf '%s\n' "$app@blue.service" "$app@green.service" "$app-haproxy.socket" "$app-haproxy.service" ;;
    socket) printf '%s\n' "$app@live.service" "$app.socket" ;;
    *) printf '%s\n' "$app@live.service" ;;
  esac
}

# lacks_units: those of the service run only where something is live.
lacks_units() {
  local unit
  for unit in $(wanted_units); do
    ask is-enabled --quiet "$unit" 2>/dev/null || return 0
    [[ $unit != "$app-"* ]] || ask is-active --quiet "$unit" || return 0
  done
  return 1
}

# check_files: every program that will read one of them says that it can.
check_files() {
  local problems=''
  ((${#stale_files[@]})) || return 0
  step "checking ${#stale_files[@]} configuration files"
  if ((${#units[@]})) && command -v systemd-analyze >/dev/null; then
    problems=$(unit_problems)
  fi
  if ((${#sudoers[@]})); then
    problems+=$(visudo -cf "${sudoers[0]}" 2>&1 >/dev/null) || true
  fi
  if ((${#haproxy[@]})); then
    problems+=$(haproxy_problems "${haproxy[0]}")
  fi
  [ -z "$problems" ] || fail bad-file "a configuration file was refused: $problems" \
    "correct your copy in templates/, or remove it to use the one of aideploy"
}

# Its exit status says too little. Before the first deploy there is no program to start, which it
# says too; units of others are not our concern.
unit_problems() {
  local scope=--system
  [ "$manager" != systemd-user ] || scope=--user
  SYSTEMD_LOG_LEVEL=warning systemd-analyze "$scope" --man=no verify "${units[@]}" 2>&1 |
    grep -F -e "$wanted/units/" -e "$app@" -e "$app.socket" -e "$app-haproxy." -e "$app-due." -e "$app-drift." |
    grep -v -F -e 'is not executable: No such file or directory' || true
}

# -- doing ----------------------------------------------------------------------------------------

make_service_user() {
  lacks_service_user || return 0
  step "creating the user $service_user"
  as_root useradd --system --user-group --no-create-home --home-dir /nonexistent \
    --shell /usr/sbin/nologin "$service_user"
  changed "user $service_user"
}

# make_own_folder PATH: ours, wherever it lies.
make_own_folder() {
  [ -d "$1" ] && return
  mkdir -p -- "$1" 2>/dev/null || as_root install -d -m 0755 -o "$me" -g "$my_group" -- "$1"
  changed "$1"
}

make_targets_folder() {
  [ -n "$targets" ] || return 0
  make_own_folder "$targets"
  [ -w "$targets" ] || emit notice "$me may not write Prometheus' targets to $targets"
}

# make_folder PATH
make_folder() {
  [ -d "$1" ] && return
  mkdir -p -- "$1"
  changed "$1"
}

# make_group_folder PATH MODE GROUP: what is made in it inherits the group. We need not be a member,
# so it is root's to give. Without a group it is a folder like others.
make_group_folder() {
  if [ -z "$3" ]; then
    make_folder "$1"
  elif ! has_group "$1" "$3"; then
    as_root install -d -m "$2" -o "$me" -g "$3" -- "$1"
    changed "$1"
  fi
}

make_folders() {
  local folder
  make_own_folder "$root"
  for folder in venvs models slots shared jobs due due.failed; do
    make_folder "$root/$folder"
  done
  # Releases inherit the group: the service, and nobody else, reads the environment they bring.
  make_group_folder "$root/releases" 2755 "$service_user"
  [ "$manager" != none ] || return 0
  if [ "$strategy" = blue_green ]; then
    make_folder "$root/slots/blue"
    make_folder "$root/slots/green"
    # Who may enter steers HAProxy: we, and the user that it runs as.
    make_group_folder "$root/haproxy" 2770 "$service_user"
    [ -n "$service_user" ] || chmod 700 -- "$root/haproxy"
    return
  fi
  make_folder "$root/slots/live"
  make_folder "$root/slots/staged"
  if [ ! -L "$root/slots/live/release" ]; then
    replace_link ../../current "$root/slots/live/release"
    changed "$root/slots/live/release"
  fi
}

# Folders can be written by the service. Files are a person's to bring.
make_linked() {
  local item path
  for item in "${linked[@]}"; do
    path=$root/shared/${item%/}
    mkdir -p -- "${path%/*}"
    if [[ $item == */ ]]; then
      make_group_folder "$path" 2770 "$service_user"
    elif [ ! -e "$path" ]; then
      emit notice "$path is linked into every release, and missing"
    fi
  done
}

install_files() {
  local index path
  for index in "${!stale_files[@]}"; do
    path=${stale_targets[index]}
    step "writing $path"
    mkdir -p -- "${path%/*}" 2>/dev/null || as_root mkdir -p -- "${path%/*}"
    [ ! -r "$path" ] || cp -- "$path" "${stale_files[index]}.previous"
    install_file "${stale_files[index]}" "$path" "${stale_modes[index]}"
    changed "$path"
  done
}

# was_replaced PATH: whether this configuration file was put in place just now.
was_replaced() {
  local path
  for path in "${stale_targets[@]}"; do
    [ "$path" != "$1" ] || return 0
  done
  return 1
}

# -- systemd --------------------------------------------------------------------------------------

# linger: our systemd runs from the start of the host, not only while we are logged in.
linger() {
  local tries
  if [ ! -e "/var/lib/systemd/linger/$me" ]; then
    step "letting services of $me run without a login"
    loginctl enable-linger 2>/dev/null || {
      may_be_root || fail no-sudo "$me may not have services that run without a login" \
        "as root on that host: loginctl enable-linger $me"
      as_root loginctl enable-linger "$me"
    }
    changed "lingering of $me"
  fi
  for ((tries = 0; tries < 100; tries++)); do
    [ ! -S "$XDG_RUNTIME_DIR/systemd/private" ] || return 0
    sleep 0.1
  done
  fail no-user-systemd "systemd does not run for the user $me" "as root on that host: systemctl status user@$EUID"
}

tell_systemd() {
  local unit
  reload_units
  ! is_socket_left_over || retire_socket
  ! is_drift_left_over || retire_drift
  for unit in $(wanted_units); do
    if ! ask is-enabled --quiet "$unit" 2>/dev/null; then
      step "enabling $unit"
      control --quiet enable "$unit"
      changed "$unit enabled"
    fi
  done
  if is_haproxy_left_over; then
    leave_haproxy
  elif [ "$strategy" = blue_green ]; then
    hand_address_to_haproxy
  elif [ "$strategy" = socket ]; then
    hand_address_to_socket
  fi
  look_for_due_jobs
  look_for_drift
}

reload_units() {
  local path
  for path in "${stale_targets[@]}"; do
    if [[ $path == "$units_folder"/* ]]; then
      control daemon-reload
      return
    fi
  done
  [ "$(ask show --property=NeedDaemonReload --value "$app-due.service")" != yes ] || control daemon-reload
}

# Until a job is left nothing runs; then the service runs until none is left.
look_for_due_jobs() {
  if ! ask is-active --quiet "$app-due.path" || was_replaced "$units_folder/$app-due.path"; then
    step "starting $app-due.path"
    control restart "$app-due.path"
    changed "$app-due.path started"
  fi
}

# The strategy is no longer socket: from now on the service opens its address itself.
retire_socket() {
  step "closing $app.socket"
  control --quiet disable --now "$app.socket"
  rm -f -- "$units_folder/$app.socket" 2>/dev/null || as_root rm -f -- "$units_folder/$app.socket"
  control daemon-reload
  [ "$strategy" = blue_green ] || control try-restart "$app@live.service"
  changed "$app.socket removed"
}

# A service that runs holds its address itself, or through a socket that is older than its file.
# Where none runs, the first deploy opens the socket.
hand_address_to_socket() {
  if ask is-active --quiet "$app.socket" && ! was_replaced "$units_folder/$app.socket"; then
    return
  fi
  if ask is-active --quiet "$app@live.service"; then
    step "handing the address to $app.socket"
    control stop "$app@live.service"
    control restart "$app.socket"
    control start "$app@live.service"
    changed "$app.socket opened"
  elif ask is-active --quiet "$app.socket"; then
    control restart "$app.socket"
  fi
}

# -- supervisor -----------------------------------------------------------------------------------

check_supervisor() {
  local answer
  command -v supervisorctl >/dev/null || fail no-supervisor "there is no supervisorctl on the path of $me" \
    "install it on the host: apt-get install supervisor, or the like"
  answer=$(supervisorctl pid 2>&1) && return
  case $answer in
    *'Permission denied'*)
      fail no-supervisor "$me may not speak to supervisord" \
        "let $me write to its socket: chmod=0770 and chown=root:$my_group below [unix_http_server] in supervisord.conf, then restart it"
      ;;
    *) fail no-supervisor "supervisord does not answer: $answer" "start supervisord on the host" ;;
  esac
}

# There is no program that checks its configuration: what it refuses is taken back.
tell_supervisor() {
  local answer
  if ! answer=$(supervisorctl update "$app-live" "$app-staged" "$app-due" 2>&1); then
    put_back "$app.conf"
    put_back "$app-due.conf"
    fail bad-file "supervisor does not take $app.conf or $app-due.conf: $answer" "see supervisord's log on the host"
  fi
  [ -z "$answer" ] || changed "supervisor: ${answer//$'\n'/, }"
  # It reads its program only when it starts; and somebody may have stopped it.
  if [[ $answer != *"$app-due: "* ]] && { was_replaced "$root/due.sh" ||
    [[ $(supervisorctl status "$app-due" || true) != *\ @(RUNNING|STARTING)\ * ]]; }; then
    supervisorctl restart "$app-due"
    changed "$app-due restarted"
  fi
}

# put_back NAME: the configuration of supervisor's programs that was there before, or none.
put_back() {
  local path previous
  # shellcheck disable=SC2088  # target reads the tilde
  path=$(target "~/supervisor/conf.d/$1")
  previous=("$wanted"/*/"$1.previous")
  if [ -e "${previous[0]}" ]; then
    install_file "${previous[0]}" "$path" 644
  elif was_replaced "$path"; then
    rm -f -- "$path" 2>/dev/null || as_root rm -f -- "$path"
  fi
}

# -- the way --------------------------------------------------------------------------------------

step "looking at what is there"
check_root_folder
[ "$manager" != supervisor ] || check_supervisor
look_at_files "$@"
[ -z "$addresses" ] || check_addresses
[ "$strategy" != blue_green ] || have_haproxy
check_files
if needs_root; then as_root true; fi

make_service_user
make_folders
make_linked
make_targets_folder
make_metrics
[ "$manager" != systemd-user ] || linger
install_files
case $manager in
  systemd | systemd-user) tell_systemd ;;
  supervisor) tell_supervisor ;;
esac
write_metrics
