# shellcheck shell=bash
# Delete old jobs. Those stay that live, whose model is still among the models, and the newest: KEEP that
# ended well and three that did not.
#
#   job_prune.sh ROOT KEEP

root=$(readlink -f -- "$(expand "$1")") keep=$2
good=0 bad=0
# Newest first; an id is sixteen letters and digits.
mapfile -t newest < <(jobs_here | while IFS= read -r job; do stat -c '%Y %n' -- "$job"; done | sort -rn | cut -d ' ' -f 2-)
for job in "${newest[@]}"; do
  job_state "$job"
  case $state in
    RUNNING | PENDING) continue ;;
    SUCCEEDED)
      ((++good > keep)) || continue
      [ ! -e "$root/models/$(job_said "$job" model)/.complete" ] || continue
      ;;
    *)
      # One that was lost could not clear up after itself, and its variables may be secrets.
      rm -rf -- "$job/work" "$job/env"
      ((++bad > 3)) || continue
      ;;
  esac
  rm -rf -- "$job"
done
