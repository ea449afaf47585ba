# shellcheck shell=bash
# Put the model of the release's job among the models, verified, where the release finds it.
#
#   job_keep.sh ROOT RELEASE OUTPUTS

root=$(readlink -f -- "$(expand "$1")") release=$2 outputs=$3
read -r id <"$root/releases/$release/.aideploy/job"
require_job "$id"
model=$(job_said "$job" model)
if [ ! -e "$root/models/$model/.complete" ]; then
  step "keep the model"
  new=$root/models/.new
  rm -rf -- "$new"
  mkdir -p -- "$root/models"
  # A link for each file: the job's copy costs no room.
  cp -al -- "$job/out/model" "$new" 2>/dev/null || { rm -rf -- "$new" && cp -a -- "$job/out/model" "$new"; } ||
    fail no-space "cannot keep the model" "make room on the disk of the host"
  found=$(model_id "$new")
  if [ "$found" != "$model" ]; then
    # It is of no use to anybody any more.
    rm -rf -- "$new" "$job/out"
    fail damaged "the model of the job $(short "$id") is damaged: its checksum is $found, not $model" "run the same command again: it trains anew"
  fi
  publish_model "$new" "$model"
fi
link_model "$release" "$model" "$outputs"
emit model "$model"
emit bytes "$(job_said "$job" bytes)"
if [ -f "$job/out/metrics.json" ]; then emit_file metrics <"$job/out/metrics.json"; fi
