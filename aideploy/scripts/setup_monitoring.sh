# shellcheck shell=bash
# Make this host ready to be watched, and a monitor host ready for monitor.push. Run again it changes nothing.
#
#   setup_monitoring.sh INSTALL PROGRAMS DIRECTORY FILE_SD GRAFANA SUDOERS SUDOERS_CONTENT OLD_SUDOERS
#
# INSTALL: yes where the packages of the system may be installed and their folders be made ours. PROGRAMS: those
# that are wanted here, in one word each. DIRECTORY: of prometheus.yml, FILE_SD: of the targets; both empty where this is no
# monitor host. GRAFANA: the folder that Grafana is provisioned from, or empty. SUDOERS: the path of our rights, empty for
# root; OLD_SUDOERS: what it was called in version 0.1. Emits `changed` for all that it makes or replaces, and `notice` for
# what is left to a person.

install=$1 programs=$2 directory=$3 file_sd=$4 grafana=$5 sudoers=$6 rights=$7 old_sudoers=$8
PATH=$PATH:/usr/sbin:/sbin
umask 022
me=$(id -un) my_group=$(id -gn)
declare -A started=()

changed() {
  emit changed "$1"
}

# have PROGRAM: it is there, or is installed. Debian names the packages as it names the programs.
have() {
  local port
  command -v "$1" >/dev/null && return
  if [ -z "$install" ]; then
    emit notice "there is no $1 here; [monitoring] install = true lets fab setup install it"
    return
  fi
  # One that came in another way has another name, or is in a container.
  port=$(port_of "$1")
  if is_taken "$port"; then
    emit notice "$1 is not installed: port $port is taken by $(listener "$port"), which stays as it is"
    return
  fi
  may_be_root || fail no-sudo "$1 is not installed, and $me may not act as root here: sudo -n says no" \
    "run fab setup as root, give $me sudo rights for as long as it takes, or install the package $1 on that host"
  [[ $(package_manager) == */apt-get ]] ||
    fail no-packages "$1 is not installed, and there is no apt-get" "install $1 on that host"
  install_package "$1" ||
    fail no-packages "$1 could not be installed: $why" "install the package $1 on that host"
  hash -r
  changed "$1 installed"
  started[$1]=yes
}

# port_of PROGRAM: where Debian lets it listen.
port_of() {
  case $1 in
    prometheus) printf '9090\n' ;;
    prometheus-alertmanager) printf '9093\n' ;;
    prometheus-node-exporter) printf '9100\n' ;;
    prometheus-blackbox-exporter) printf '9115\n' ;;
  esac
}

# is_taken PORT: somebody listens on it, at whatever address.
is_taken() {
  listens 127.0.0.1 "$1" || [ -n "$(ss -Hltn "sport = :$1" 2>/dev/null || true)" ]
}

# runs PROGRAM: its service does, if it has one.
runs() {
  local unit=$1.service
  if [ -z "$install" ] || ! systemctl cat "$unit" >/dev/null 2>&1; then return; fi
  if ! systemctl is-active --quiet "$unit" || ! systemctl is-enabled --quiet "$unit"; then
    step "starting $unit"
    as_root systemctl --quiet enable --now "$unit" || true
    changed "$unit started"
    started[$1]=yes
  fi
}

# stay: say which of those that were installed or started do not run; systemd itself calls one started that ends at once.
stay() {
  local program unit
  ((${#started[@]})) || return 0
  step "looking whether they stay"
  sleep 2
  for program in "${!started[@]}"; do
    unit=$program.service
    if systemctl is-active --quiet "$unit" 2>/dev/null && [ "$(systemctl show --property=NRestarts --value "$unit")" = 0 ]; then continue; fi
    if [ ! -d /run/systemd/system ]; then
      emit notice "$program is installed, and there is no systemd that starts it: start it yourself"
    else
      emit notice "$unit does not stay up; see why on that host: journalctl -u $unit"
    fi
  done
}

# own_folder PATH: a new one is ours.
own_folder() {
  if [ ! -d "$1" ]; then
    mkdir -p -- "$1" 2>/dev/null || as_root install -d -m 0755 -o "$me" -g "$my_group" -- "$1"
    changed "$1"
  elif [ ! -w "$1" ]; then
    emit notice "$me may not write to $1, which is somebody else's: let it, for the rules and targets there"
  fi
}

# own_directory: the folder of a Prometheus that we look after. What is made in it can be read by its user, and by
# nobody else where it holds secrets.
own_directory() {
  local group=prometheus
  getent group "$group" >/dev/null || group=$my_group
  if [ "$(stat -c '%U:%G %a' -- "$directory" 2>/dev/null)" != "$me:$group 2755" ]; then
    as_root install -d -m 2755 -o "$me" -g "$group" -- "$directory"
    changed "$directory"
  fi
}

# own_grafana: the folders of a Grafana that is there, which keeps reading them.
own_grafana() {
  local folder
  for folder in "$grafana/dashboards" "$grafana/datasources"; do
    if [ -d "$folder" ] && [ -w "$folder" ]; then continue; fi
    if [ -z "$install" ]; then
      emit notice "$me may not write to $folder: dashboards are not put there"
      continue
    fi
    [ -d "$folder" ] || as_root mkdir -p -- "$folder"
    as_root chown -- "$me" "$folder"
    changed "$folder"
  done
}

grant() {
  local wanted
  [ -n "$sudoers" ] || return 0
  # Once it is there we may not read it; whether it holds is what counts.
  ! sudo -n -l /usr/bin/systemctl reload prometheus.service >/dev/null 2>&1 </dev/null || may_be_root || return 0
  wanted=$(mktemp)
  printf '%s' "$rights" >"$wanted"
  if ! as_root cmp -s -- "$wanted" "$sudoers"; then
    visudo -cf "$wanted" >/dev/null 2>&1 ||
      fail bad-file "visudo refuses $sudoers" "correct your copy of templates/sudoers_monitor.j2, or remove it"
    install_file "$wanted" "$sudoers" 440
    changed "$sudoers"
  fi
  rm -f -- "$wanted"
}

# remove_old_name: in 0.1 our rights had a name that those of another app may have, too: its own are never about this.
remove_old_name() {
  if [ -z "$old_sudoers" ] || ! may_be_root; then return 0; fi
  if as_root grep -qs 'systemctl reload prometheus\.service$' "$old_sudoers"; then
    as_root rm -f -- "$old_sudoers"
    changed "$old_sudoers removed"
  fi
}

step "looking at what watches"
for program in $programs; do have "$program"; done
if [ -n "$directory" ]; then
  [ -z "$install" ] || own_directory
  own_folder "$directory/rules"
  own_folder "$file_sd"
  [ ! -d "$grafana" ] || own_grafana
  grant
  remove_old_name
fi
for program in $programs; do runs "$program"; done
stay
