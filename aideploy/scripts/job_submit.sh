# shellcheck shell=bash
# Find the job that trains this release's model, or begin it. The inputs name the job: the same ones are
# never trained twice.
#
#   job_submit.sh ROOT APP RELEASE REVISION SUBDIRECTORY ENGINE SPEC RUN COMMAND OUTPUTS METRICS DATA_VERSION
#                 MEMORY CPUS GPUS NODES COUNT INPUT… [NAME=VALUE…]
#
# SPEC: what is known of the job elsewhere, a JSON object on one line. RUN: the text of its run.sh.
# MEMORY: bytes; 0 is no limit, of CPUS likewise. NODES: how many hosts train together, this one the
# first of them; 0 where the engine is for one host. INPUT: COUNT patterns of files.

# shellcheck disable=SC2034  # app, cpus, … are for the libraries
root=$(expand "$1") app=$2 release=$3 revision=$4 subdirectory=$5 engine=$6 spec=$7 run=$8 command=$9
outputs=${10} metrics=${11} data_version=${12} memory=${13} cpus=${14} gpus=${15} nodes=${16}
count=${17}
shift 17
inputs=("${@:1:count}")
shift "$count"
variables=("$@")
root=$(readlink -f -- "$root")
repo=$root/repo.git

# may_be_reused JOB: whether it ended well and its model is still to be had.
may_be_reused() {
  [ "$state" = SUCCEEDED ] && [ -d "$1/out/model" ]
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

# lead_gang: what the other hosts need to know to join in, and the variables of our own part.
lead_gang() {
  local pair address port=29500
  address=$(own_address)
  for pair in "${variables[@]}"; do
    case $pair in
      MASTER_ADDR=*) address=${pair#*=} ;;
      MASTER_PORT=*) port=${pair#*=} ;;
    esac
  done
  gang="$(od -An -N8 -tx8 /dev/urandom | tr -d ' ') $nodes $address $port"
  variables+=("NNODES=$nodes" NODE_RANK=0 "MASTER_ADDR=$address" "MASTER_PORT=$port")
}

# own_address: the one at which we were called, or else the first that this host has.
own_address() {
  local address
  read -r _ _ address _ <<<"${SSH_CONNECTION-}" || true
  [ -n "$address" ] || read -r address _ < <(hostname -I) || true
  printf '%s\n' "${address:-127.0.0.1}"
}

# tell_gang: where several hosts train together, what the others have to know.
tell_gang() {
  [ -e "$job/gang" ] || return 0
  emit gang "$(<"$job/gang")"
  emit inputs "$hash"
  emit data "$(sed -n 's/^data //p' -- "$key")"
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
    tell_gang
    exit 0
    ;;
  '') ;;
  *)
    earlier=$state
    # It could not tell so itself.
    [ "$state" != LOST ] || write_metrics
    attempt=$(next_attempt)
    # Of one that was lost something may still run.
    engine cancel "$job"
    ;;
esac
refuse_two "${known[@]}"
"${engine}_check"
say_why "${known[@]}"
[ -z "$data_version" ] || variables+=("DATA_VERSION=$(sed -n 's/^data //p' -- "$key")")
step "begin job $(short "$id")"
gang=''
((nodes == 0)) || lead_gang
prepare_job
emit job "$id"
tell_gang
engine submit "$job"
