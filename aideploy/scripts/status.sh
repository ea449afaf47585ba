# shellcheck shell=bash
# What this host serves right now, what of it is not as it was left, and who holds its lock. Changes nothing.
#
#   status.sh ROOT APP SERVES PYTHON PROBE REQUEST DRIFT
#
# SERVES: "yes" where a service runs. REQUEST is for probe.py; its $REVISION is filled in with the commit
# that is live. DRIFT: the file below ROOT in which a timer tells how far the data has drifted, or empty.

root=$(expand "$1") app=$2 serves=$3 python=$4 probe=$5 request=$6 drift=$7

emit_standing

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
# It belongs to the user of the service.
if [ -n "$drift" ] && [ -f "$root/$drift" ] && [ -r "$root/$drift" ]; then
  head -c 1000000 -- "$root/$drift" | emit_file data-drift
fi
service_additions | while IFS= read -r path; do emit added "$path"; done

slot=$(slot_at live)
emit slot "$slot"
emit service "$(service_state "$slot")"
if [ -n "$revision" ]; then
  step "ask the service"
  if probe "$python" "$probe" "${request//\$REVISION/$revision}"; then emit healthy yes; else emit healthy no; fi
  emit health "$health"
fi
