# shellcheck shell=bash
# The engine "ray": the job is one of a Ray cluster, by its job submission API (`ray job submit`). A library behind
# jobs.sh, which says what its functions do, and engine_local.sh.
#
# Where the cluster is reached is RAY_API_SERVER_ADDRESS or RAY_ADDRESS of [train] environment; without
# them on this host. Ray runs a job's command on the head unless `resources` say what it needs: then on
# any node, which has to see the job's folder under the same path. Jobs die with the cluster.

ray_here=http://127.0.0.1:8265

ray_check() {
  local answer
  ray=$(ray_program "$root/releases/$release/.venv/bin") || fail no-engine \
    "there is no ray in the release's environment, nor on the path of $(id -un)" \
    "add ray[default] to the requirements, or use the engine \"local\""
  ray_address=$(ray_choose_address)
  answer=$(ray_job list) || fail no-engine "Ray does not answer at $ray_address: $(ray_last_line "$answer")" \
    "start it on the train host (ray start --head), or correct RAY_API_SERVER_ADDRESS in [train] environment"
}

ray_submit() {
  local job=$1 name=aideploy-$app-$id-$attempt answer options=()
  ((cpus == 0)) || options+=("--entrypoint-num-cpus=$cpus")
  ((gpus == 0)) || options+=("--entrypoint-num-gpus=$gpus")
  ((memory == 0)) || options+=("--entrypoint-memory=$memory")
  # Noted before it is asked for: the name is ours, and Ray takes it once.
  printf 'ray %s %s %s\n' "$name" "$ray_address" "$ray" >"$job/engine"
  answer=$(ray_job submit --no-wait --submission-id "$name" "${options[@]}" -- "$BASH" "$job/run.sh") ||
    [[ $answer == *"$name already exists"* ]] || [[ $(ray_job status "$name") == *"ob '$name'"* ]] ||
    fail not-started "Ray did not take the job: $(ray_last_line "$answer")" "see ray status on the host, and [train] resources"
  printf -- '-- Ray job %s --\n' "$name"
}

ray_alive() {
  local answer
  local_alive "$1" && return
  ray_noted "$1" || return 1
  answer=$(ray_job status "$name") || true
  case $answer in
    *"Status for job '$name'"*) return 0 ;;
    # It is gone when Ray says so, not when a cluster elsewhere is away for a while.
    *"ob '$name'"* | *"$name does not exist"*) return 1 ;;
    *) [ "$ray_address" != "$ray_here" ] ;;
  esac
}

ray_cancel() {
  local answer tries
  if ray_noted "$1"; then
    ray_job stop --no-wait "$name" >/dev/null || true
    for ((tries = 0; tries < 4; tries++)); do
      answer=$(ray_job status "$name") || true
      [[ $answer == *"Status for job '$name'"* ]] || break
      sleep 1
    done
    # What waits for a node cannot be stopped before it has one: then it finds JOB/cancel. Neither that nor what
    # cannot be asked about any more stands in the way of another attempt.
    [[ $answer == *"Job '$name'"* ]] || printf 'ray\n' >"$1/engine"
  fi
  end_job_processes "$1" || true
}

ray_tell() {
  local answer
  ray_noted "$1" || return 0
  answer=$(ray_job status "$name") || true
  answer=$(ray_words <<<"$answer" | grep -m 1 '^Status message: ' || ray_last_line "$answer")
  printf -- '-- Ray says: %s --\n' "${answer#Status message: }"
}

# -- inside -------------------------------------------------------------------------------------

# ray_job VERB ARGUMENT…: what `ray job` answers at `ray_address`, with its complaints.
ray_job() {
  local verb=$1
  shift
  timeout 120 "$ray" job "$verb" --address "$ray_address" "$@" </dev/null 2>&1 8>&-
}

# ray_program FOLDER: of the release if it has one; by a path that stays when the release goes.
ray_program() {
  local found
  found=$(PATH=$1:$PATH command -v ray) && readlink -f -- "$found"
}

ray_choose_address() {
  local wanted pair
  for wanted in RAY_API_SERVER_ADDRESS RAY_ADDRESS; do
    for pair in "${variables[@]}"; do
      if [[ $pair == "$wanted="* && $pair != *[[:space:]]* ]]; then
        printf '%s\n' "${pair#*=}"
        return
      fi
    done
  done
  printf '%s\n' "$ray_here"
}

# ray_noted JOB: set `name`, `ray_address` and `ray`; returns 1 where it was never handed over.
ray_noted() {
  name='' ray_address='' ray=''
  read -r _ name ray_address ray <"$1/engine" || true
  [ -n "$ray" ]
}

# ray_words: what comes on standard input, without colours, frames and the beginnings of log lines.
ray_words() {
  sed -E 's/\x1b\[[0-9;]*m//g; s/^[-0-9]+ [0-9:,]+\t[A-Z]+ [^ ]+ -- //; /^[-.[:space:]]*$/d'
}

# ray_last_line TEXT
ray_last_line() {
  ray_words <<<"$1" | tail -n 1
}
