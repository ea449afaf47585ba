# shellcheck shell=bash
# Whether a deploy would find here what it needs. Changes nothing.
#
#   check.sh ROOT APP SERVES MANAGER PYTHON REPOSITORY BRANCH SLOTS USERS TEXTFILE METRIC_FILES COUNT \
#            LINKED… COMMAND…
#
# SERVES: "yes" where a service runs. SLOTS: SLOT=ADDRESS:PORT in one word for each. USERS: ADDRESS:PORT of HAProxy, empty
# where none stands in front. REPOSITORY: empty where the host need not read it. TEXTFILE, METRIC_FILES: as in setup.sh. LINKED: COUNT files that
# have to lie below shared/. COMMANDs: what we have to be allowed as root. Emits a fact for each
# thing that is missing, `notice` for what stops no deploy, and the time.

# shellcheck disable=SC2034  # app is for the service manager's functions
root=$(expand "$1") app=$2 serves=$3 manager=$4 python=$5 repository=$6 branch=$7 slots=$8
users=$9 textfile=$(expand "${10}") metric_files=${11} count=${12}
shift 12
linked=("${@:1:count}")
shift "$count"

step "look for what builds environments"
has_uv() {
  local place
  for place in "$(command -v uv || true)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" "$root/tools/bin/uv"; do
    [ -x "$place" ] && return
  done
  return 1
}
if ! has_uv && ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then emit no-venv yes; fi

step "ask for the rights"
for command in "$@"; do
  read -ra words <<<"$command"
  sudo -n -l "${words[@]}" >/dev/null 2>&1 </dev/null || emit no-right "$command"
done

for name in "${linked[@]}"; do
  [ -e "$root/shared/$name" ] || emit no-linked-file "$root/shared/$name"
done

for file in $metric_files; do
  if [ ! -d "$textfile" ]; then
    emit notice "there is no folder $textfile, where node_exporter would read metrics"
    break
  fi
  [ "$textfile/${file##*/}" -ef "$root/$file" ] ||
    emit notice "node_exporter does not find $root/$file: no link to it in $textfile"
done

# is_our_socket SLOT: whether systemd holds the address of that slot for us.
is_our_socket() {
  [ "$1" = live ] && [ "$manager" != supervisor ] && ask is-active --quiet "$app.socket" 2>/dev/null
}

# say_if_taken ADDRESS:PORT
say_if_taken() {
  ! listens "${1%:*}" "${1##*:}" || emit port-taken "${1##*:} $(listener "${1##*:}")"
}

if [ "$serves" = yes ]; then
  step "look at the service"
  case $manager in
    supervisor) program=supervisorctl ;;
    *) program=systemctl ;;
  esac
  if ! command -v "$program" >/dev/null; then
    emit no-manager "$program"
  else
    for pair in $slots; do
      slot=${pair%%=*}
      state=$(service_state "$slot")
      [ "$state" != missing ] || emit no-program "$app $slot"
      if [ "$state" != active ] && ! is_our_socket "$slot"; then say_if_taken "${pair#*=}"; fi
    done
    if [ -n "$users" ] && ! ask is-active --quiet "$app-haproxy.service"; then
      emit no-haproxy "$app-haproxy"
      # Before setup has changed the strategy, it is the service itself.
      if ! ask is-active --quiet "$app-haproxy.socket" && ! is_our_socket live && [ "$(service_state live)" != active ]; then
        say_if_taken "$users"
      fi
    fi
    due_runs || emit no-runner "$app-due"
  fi
fi

if [ -n "$repository" ] && command -v git >/dev/null; then
  step "read the repository"
  export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -o BatchMode=yes -o ConnectTimeout=10}"
  status=0
  answer=$(timeout 30 git ls-remote "$repository" "refs/heads/$branch" 2>&1) || status=$?
  if ((status == 124)); then
    emit no-repository "no answer within 30 s"
  elif ((status != 0)); then
    emit no-repository "$answer"
  elif [ -z "$answer" ]; then
    emit no-branch "$branch"
  fi
fi
emit clock "$(date -u +%s)"
