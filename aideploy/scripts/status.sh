# shellcheck shell=bash
# What this host serves right now, what of it is not as it was left, and who holds its lock. Changes nothing.
#
#   status.sh ROOT APP SERVES PYTHON PROBE REQUEST
#
# SERVES: "yes" where a service runs. REQUEST is for probe.py; its $REVISION is filled in with the commit
# that is live.

root=$(expand "$1") app=$2 serves=$3 python=$4 probe=$5 request=$6

[ ! -s "$root/held" ] || emit held "$(head -n 1 -- "$root/held")"
# Shared, so that two who ask are not in each other's way.
if [ -r "$root/lock" ] && ! flock -s -n "$root/lock" true; then
  emit lock "$(head -n 1 -- "$root/lock")"
fi
[ ! -s "$root/rollout/held" ] || emit rollout held

# What it is about to do by itself, and what it tried in vain; see due.sh.
for job in "$root"/due/* "$root"/due.failed/*; do
  key=due words=''
  [[ $job != */due.failed/* ]] || key=given-up
  { read -r _ _ at _ && read -r _ words; } 2>/dev/null <"$job" || true
  [ -z "$words" ] || emit "$key" "$(basename -- "$job") $at $words"
done

record=$root/current/release.json
revision=''
if [ -r "$record" ]; then
  emit_file record <"$record"
  release=$(readlink -- "$root/current" || true)
  release=${release##*/}
  revision=$(revision_of "$release")
  emit_changes changed "$release"
fi
[ "$serves" = yes ] || exit 0
service_additions | while IFS= read -r path; do emit added "$path"; done

slot=$(slot_at live)
emit slot "$slot"
emit service "$(service_state "$slot")"
if [ -n "$revision" ]; then
  step "ask the service"
  if probe "$python" "$probe" "${request//\$REVISION/$revision}"; then emit healthy yes; else emit healthy no; fi
  emit health "$health"
fi
