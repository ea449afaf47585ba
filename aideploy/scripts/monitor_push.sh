# shellcheck shell=bash
# Put the files of monitoring in place on this monitor host, all or none of them, and have them read.
#
#   monitor_push.sh PYTHON PROGRAM DIRECTORY FILE_SD PROMETHEUS_URL ALERTMANAGER_URL ACCESS APP ENVIRONMENT \
#                   COUNT OLD… [PATH KIND MODE CONTENT]…
#
# PROGRAM: monitor_ask.py. ACCESS: what it gets on its input. DIRECTORY: of prometheus.yml. FILE_SD: of the targets, and
# of the lock. ALERTMANAGER_URL: empty where its file is not ours. OLD: COUNT files that had another name in version 0.1
# (old_name.sh); they go. KIND: prometheus, alertmanager, rules, targets or grafana. What was there stays beside each file
# that is replaced, as PATH.before. Emits `changed` for each, and `untold` for files of Grafana that we may not write.
# Whatever goes wrong on the way, what was there comes back, and is read again.

python=$1 program=$2 directory=$3 file_sd=$4 prometheus=$5 alertmanager=$6 access=$7 app=$8 environment=$9
old=("${@:11:${10}}")
shift $((10 + ${10}))
PATH=$PATH:/usr/sbin:/sbin
umask 022
fresh=() leaving=() swapped=() reloaded=() told=() finished=''

ask() {
  printf '%s' "$access" | "$python" -I -S -c "$program" "$@" 2>&1
}

# -- going back -----------------------------------------------------------------------------------

leave() {
  local path
  for path in "${fresh[@]}"; do rm -f -- "$path.new.$$"; done
  [ -n "$finished" ] || put_back
}

# put_back: each file is again what it was, and those who read the new ones read these.
put_back() {
  local path kind
  for path in "${swapped[@]}"; do
    if [ "${had[$path]}" = yes ]; then
      ln -f -- "$path.before" "$path.back.$$"
      mv -fT -- "$path.back.$$" "$path"
    else
      rm -f -- "$path"
    fi
  done
  swapped=()
  told=("${reloaded[@]}")
  reloaded=()
  for kind in "${told[@]}"; do reload "$kind" >/dev/null || true; done
}

# give_up CODE MESSAGE NEXT
give_up() {
  put_back
  finished=yes
  fail "$1" "$2; what was there is back" "$3"
}
trap leave EXIT

# -- the programs that read them ------------------------------------------------------------------

url_of() {
  if [ "$1" = prometheus ]; then printf '%s\n' "$prometheus"; else printf '%s\n' "$alertmanager"; fi
}

# reload prometheus|alertmanager: over HTTP where it may be asked, else as the service that it is.
reload() {
  local unit answer
  ask reload "$1" "$(url_of "$1")" >/dev/null && return
  for unit in "$1" "prometheus-$1"; do
    systemctl is-active --quiet "$unit.service" 2>/dev/null || continue
    if ((EUID == 0)); then
      answer=$(systemctl reload "$unit.service" 2>&1) && return
    else
      answer=$(sudo -n /usr/bin/systemctl reload "$unit.service" 2>&1) && return
    fi
  done
  printf '%s\n' "${answer:-no service of that name runs here}"
  return 1
}

# read_again prometheus|alertmanager FILE…: it reads its files, and has these rule files then.
read_again() {
  local kind=$1 since answer
  shift
  since=$(date +%s)
  step "reloading $kind"
  reloaded+=("$kind")
  answer=$(reload "$kind") ||
    give_up no-reload "$kind could not be told to read its configuration: $answer" \
      "fab setup lets us reload it; or as root on that host: systemctl reload $kind"
  answer=$(ask loaded "$kind" "$(url_of "$kind")" "$since" "$@") ||
    give_up not-loaded "$kind does not take its new configuration: $answer" "see why: journalctl -u '*$kind*' on that host"
}

# -- the way --------------------------------------------------------------------------------------

command -v promtool >/dev/null || fail no-promtool "there is no promtool on this host" \
  "install the package prometheus there, or set [monitoring] install = true and run fab setup"
{ mkdir -p -- "$file_sd" && exec 9>>"$file_sd/.lock"; } 2>/dev/null ||
  fail not-writable "$(id -un) may not write to $file_sd" "fab setup, or let $(id -un) write there"
flock -w 5 9 || fail monitor-locked "somebody else is changing the monitoring of this host" "run the same command again in a minute"

declare -A had=() kinds=()
rules=()
step "writing the files"
while (($#)); do
  path=$1 kind=$2 mode=$3
  [ "$kind" != rules ] || rules+=("$path")
  if ! mkdir -p -- "${path%/*}" 2>/dev/null || [ ! -w "${path%/*}" ]; then
    # Where Grafana is elsewhere, or somebody else's, the rest does not wait for it.
    if [ "$kind" = grafana ]; then
      emit untold "$path"
      shift 4
      continue
    fi
    fail not-writable "$(id -un) may not write to ${path%/*}" "fab setup, or let $(id -un) write there"
  fi
  fresh+=("$path")
  if ! (umask 077 && printf '%s' "$4" >"$path.new.$$") 2>/dev/null || ! sync -- "$path.new.$$" 2>/dev/null; then
    fail no-space "no room on the disk for $path" "make room on the disk of the host"
  fi
  chmod -- "$mode" "$path.new.$$"
  if [ -e "$path" ] && cmp -s -- "$path.new.$$" "$path" && [ "$(stat -c %a -- "$path")" = "${mode#0}" ]; then
    rm -f -- "$path.new.$$"
  else
    kinds[$path]=$kind
  fi
  shift 4
done

step "checking them"
for path in "${!kinds[@]}"; do
  case ${kinds[$path]} in
    prometheus) check=(promtool check config --syntax-only) ;;
    rules) check=(promtool check rules) ;;
    alertmanager)
      check=(amtool check-config)
      command -v amtool >/dev/null || fail no-promtool "there is no amtool on this host" "install the package prometheus-alertmanager there"
      ;;
    *) continue ;;
  esac
  answer=$("${check[@]}" "$path.new.$$" 2>&1) ||
    fail bad-file "${check[0]} refuses $path: $(tail -n 15 <<<"${answer//.new.$$/}")" \
      "correct your copy in templates/, or remove it to use the one of aideploy"
done

for path in "${old[@]}"; do
  [ ! -f "$path" ] || is_of_another "$path" "$app" "$environment" || leaving+=("$path")
done

# A link needs no room; of somebody else's file we may only have a copy.
for path in "${!kinds[@]}" "${leaving[@]}"; do
  had[$path]=no
  [ -e "$path" ] || continue
  ln -f -- "$path" "$path.before" 2>/dev/null || cp -f -- "$path" "$path.before" 2>/dev/null ||
    fail no-space "what is in $path cannot be kept" "make room on the disk of the host; see who owns the file"
  had[$path]=yes
done

# Until here nothing was changed.
step "putting them in place"
for path in "${!kinds[@]}"; do
  swapped+=("$path")
  mv -fT -- "$path.new.$$" "$path"
done
for path in "${leaving[@]}"; do
  swapped+=("$path")
  rm -f -- "$path"
done
answer=$(promtool check config "$directory/prometheus.yml" 2>&1) ||
  give_up bad-file "promtool refuses $directory/prometheus.yml: $(grep -v SUCCESS <<<"$answer" | tail -n 15)" \
    "see which file it names"

# Targets are read by themselves. What is in place and was never loaded is loaded now.
stale=$(ask look "$prometheus" "$alertmanager")
read_prometheus='' read_alertmanager=''
for path in "${!kinds[@]}"; do
  case ${kinds[$path]} in
    prometheus | rules) read_prometheus=yes ;;
    alertmanager) read_alertmanager=yes ;;
  esac
done
for path in "${leaving[@]}"; do
  [[ $path != *.yml ]] || read_prometheus=yes
done
for path in "${rules[@]}"; do
  [[ $stale == *"\"$path\""* ]] || read_prometheus=yes
done
[ -z "$read_prometheus" ] || read_again prometheus "${rules[@]}"
[ -z "$alertmanager" ] || [ -z "$read_alertmanager" ] || read_again alertmanager
finished=yes
for path in "${leaving[@]}"; do rm -f -- "$path.before"; done
for path in "${!kinds[@]}" "${leaving[@]}"; do emit changed "$path"; done
