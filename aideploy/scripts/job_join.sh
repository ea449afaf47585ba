# shellcheck shell=bash
# Begin this host's part of a training that several hosts do together, unless it was begun before. How it goes
# on is told by those who follow it.
#
#   job_join.sh ROOT APP RELEASE REVISION SUBDIRECTORY SPEC RUN ID HASH DATA RANK GANG MEMORY CPUS GPUS [NAME=VALUE…]
#
# ID, HASH, DATA and GANG are those that the first host told: the job, its inputs, the version of its data, and
# what lies in its file `gang`. The rest is as in job_submit.sh.

# shellcheck disable=SC2034  # app, cpus, … are for the libraries
root=$(expand "$1") app=$2 release=$3 revision=$4 subdirectory=$5 spec=$6 run=$7 id=$8 hash=$9
data=${10} rank=${11} gang=${12} memory=${13} cpus=${14} gpus=${15}
shift 15
variables=("$@")
root=$(readlink -f -- "$root")
repo=$root/repo.git
job=$root/jobs/$id
engine=torchrun attempt=1

emit job "$id"
if [ -e "$job/gang" ] && [ "$(<"$job/gang")" = "$gang" ]; then
  emit attached yes
  exit 0
fi
step "join in job $(short "$id")"
mkdir -p -- "$root/jobs" "$root/releases/$release/.aideploy"
key=$(mktemp) || fail no-space "cannot write below ${TMPDIR:-/tmp}" "make room on the disk of the host"
trap 'rm -rf -- "$key" "$root/jobs/.new"' EXIT
if [ -d "$job" ]; then
  # What runs of an earlier attempt would end in the folder of this one.
  attempt=$(next_attempt)
  job_state "$job"
  case $state in
    RUNNING | PENDING) end_job "$job" "aideploy: the first host has begun another attempt" ;;
    *) engine cancel "$job" ;;
  esac
  ! engine alive "$job" || sleep 1
fi
mapfile -t known < <(jobs_here)
refuse_two "${known[@]}"
torchrun_check
commit=$revision
find_tree "$subdirectory"
printf 'part %s\nenvironment %s\n' "$gang" "$(basename -- "$(readlink -f -- "$root/releases/$release/.venv")")" >"$key"
if [ -n "$data" ]; then
  printf 'data %s\n' "$data" >>"$key"
  variables+=("DATA_VERSION=$data")
fi
read -r _ nodes address port <<<"$gang"
variables+=("NNODES=$nodes" "NODE_RANK=$rank" "MASTER_ADDR=$address" "MASTER_PORT=$port")
prepare_job
engine submit "$job"
