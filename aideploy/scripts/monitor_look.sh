# shellcheck shell=bash
# Say which files of monitoring are on this monitor host, and what is loaded of them.
#
#   monitor_look.sh PYTHON PROGRAM PROMETHEUS_URL ALERTMANAGER_URL ACCESS SECRETS SHARED PATH…
#
# PROGRAM: monitor_ask.py. ACCESS: what it gets on its input. SECRETS: so many of the first PATHs hold secrets,
# SHARED: so many of those behind these are for all apps, too. Emits for each PATH, by its number from 1: `state.N`
# (there, missing, unreadable), `sha.N`, and `content.N` as base64 where it is no secret; of the shared ones `owner.N`
# (ours, package, foreign); then `loaded`, as JSON.

python=$1 program=$2 prometheus=$3 alertmanager=$4 access=$5 secrets=$6 shared=$7
shift 7
PATH=$PATH:/usr/sbin:/sbin

# owner PATH: whose file it is. One that is as its package brought it is nobody's yet.
owner() {
  local sum
  if head -n 1 -- "$1" | grep -q 'managed by aideploy'; then
    printf 'ours\n'
    return
  fi
  sum=$(md5sum <"$1")
  if dpkg-query -W -f='${Conffiles}\n' prometheus prometheus-alertmanager 2>/dev/null |
    grep -q -F -- " $1 ${sum%% *}"; then
    printf 'package\n'
  else
    printf 'foreign\n'
  fi
}

number=0
for path in "$@"; do
  state=$(state_of "$path")
  emit "state.$((++number))" "$state"
  [ "$state" = there ] || continue
  ((number > secrets + shared)) || emit "owner.$number" "$(owner "$path")"
  sum=$(sha256sum <"$path")
  emit "sha.$number" "${sum%% *}"
  ((number <= secrets)) || emit_file "content.$number" <"$path"
done
emit loaded "$(printf '%s' "$access" | "$python" -I -S -c "$program" look "$prometheus" "$alertmanager")"
