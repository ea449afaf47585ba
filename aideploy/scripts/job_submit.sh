# shellcheck shell=bash
# Find the job that trains this release's model, or begin it. The inputs name the job: the same ones are
# never trained twice.
#
#   job_submit.sh ROOT APP RELEASE REVISION SUBDIRECTORY ENGINE SPEC RUN COMMAND OUTPUTS METRICS DATA_VERSION
#                 MEMORY CPUS GPUS COUNT INPUT… [NAME=VALUE…]
#
# SPEC: what is known of the job elsewhere, a JSON object on one line. RUN: the text of its run.sh.
# MEMORY: bytes; 0 is no limit, of CPUS likewise. INPUT: COUNT patterns of files.

# shellcheck disable=SC2034  # app, cpus, … are for the libraries
root=$(expand "$1") app=$2 release=$3 revision=$4 subdirectory=$5 engine=$6 spec=$7 run=$8 command=$9
outputs=${10} metrics=${11} data_version=${12} memory=${13} cpus=${14} gpus=${15} count=${16}
shift 16
inputs=("${@:1:count}")
shift "$count"
variables=("$@")
root=$(readlink -f -- "$root")
repo=$root/repo.git

# may_be_reused JOB: whether it ended well and its model is still to be had.
may_be_reused() {
  [ "$state" = SUCCEEDED ] && [ -d "$1/out/model" ]
}

# refuse_two JOB…: one training at a time, for two may not fit the host's memory or its GPUs.
refuse_two() {
  local other
  for other in "$@"; do
    [ "$other" != "$job" ] || continue
    job_state "$other"
    case $state in RUNNING | PENDING)
      fail job-busy "the job $(short "${other##*/}") is still training here, with other inputs" \
        "wait for it with fab train.attach --job $(short "${other##*/}"), or end it with fab train.cancel --job $(short "${other##*/}")" ;;
    esac
  done
}

# last_good JOB…: the newest that ended well.
last_good() {
  local one newest=''
  for one in "$@"; do
    if grep -q '"state": "SUCCEEDED"' -- "$one/status.json" 2>/dev/null &&
      { [ -z "$newest" ] || [ "$one/status.json" -nt "$newest/status.json" ]; }; then newest=$one; fi
  done
  printf '%s\n' "$newest"
}

# say_why JOB…: what differs from the last training, or what became of the last attempt.
say_why() {
  local last
  if [ -n "$earlier" ]; then
    printf -- '-- job %s, attempt %s: the one before ended %s --\n' "$(short "$id")" "$attempt" "$earlier"
    return
  fi
  last=$(last_good "$@")
  if [ -n "$last" ]; then
    printf -- '-- job %s: changed since job %s: %s --\n' "$(short "$id")" "$(short "${last##*/}")" "$(changes "$last/key" "$key")"
  else
    printf -- '-- job %s: the first training here --\n' "$(short "$id")"
  fi
}

# prepare_job: a folder that is whole before it gets its name.
prepare_job() {
  local new=$root/jobs/.new number
  rm -rf -- "$new"
  mkdir -p -- "$new/work" "$new/attempts"
  git_ archive --format=tar "$tree" | tar -x -C "$new/work" --no-same-owner ||
    fail no-space "cannot unpack the commit for the training" "make room on the disk of the host"
  rm -rf -- "$new/work/.venv"
  ln -s -- "../../../venvs/$(sed -n 's/^environment //p' -- "$key")" "$new/work/.venv"
  cp -- "$key" "$new/key"
  : >"$new/log"
  (umask 077 && printf '%s\0' "${variables[@]}" >"$new/env" && printf '%s\n' "$run" >"$new/run.sh")
  if [ -d "$job" ]; then
    rm -rf -- "$job/work" "$job/out" "$job/env" "$job/run.sh"
    for number in "$job"/attempts/*; do
      if [ -d "$number" ]; then mv -- "$number" "$new/attempts/"; fi
    done
    mv -T -- "$job" "$new/attempts/$((attempt - 1))"
  fi
  printf '%s, "id": "%s", "attempt": %s, "inputs": "%s", "environment": "%s", "data_version": %s}\n' \
    "${spec%\}}" "$id" "$attempt" "$hash" "$(sed -n 's/^environment //p' -- "$key")" \
    "$(json_text "$(sed -n 's/^data //p' -- "$key")")" >"$new/spec.json"
  printf '%s\n' "$engine" >"$new/engine"
  mv -T -- "$new" "$job"
}

step "look whether it was trained before"
mkdir -p -- "$root/jobs"
key=$(mktemp) || fail no-space "cannot write below ${TMPDIR:-/tmp}" "make room on the disk of the host"
trap 'rm -rf -- "$key" "$root/jobs/.new"' EXIT
commit=$revision
find_tree "$subdirectory"
job_key >"$key"
hash=$(sha256sum <"$key" | cut -c 1-64)
id=${hash:0:16}
job=$root/jobs/$id
mapfile -t known < <(jobs_here)
mkdir -p -- "$root/releases/$release/.aideploy"
printf '%s\n' "$id" >"$root/releases/$release/.aideploy/job"

state='' earlier='' attempt=1
[ ! -d "$job" ] || job_state "$job"
if may_be_reused "$job"; then
  emit job "$id"
  emit reused yes
  exit 0
fi
case $state in
  RUNNING | PENDING)
    emit job "$id"
    emit attached yes
    exit 0
    ;;
  '') ;;
  *)
    earlier=$state
    attempt=$(($(find "$job/attempts" -mindepth 1 -maxdepth 1 -type d | wc -l) + 2))
    # Of one that was lost something may still run.
    engine cancel "$job"
    ;;
esac
refuse_two "${known[@]}"
"${engine}_check"
say_why "${known[@]}"
[ -z "$data_version" ] || variables+=("DATA_VERSION=$(sed -n 's/^data //p' -- "$key")")
step "begin job $(short "$id")"
prepare_job
emit job "$id"
engine submit "$job"
