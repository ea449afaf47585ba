# shellcheck shell=bash
# The engine "ray": the job is one of a Ray cluster, by its job submission API (`ray job submit`). A library behind
# jobs.sh, which says what its functions do, and engine_local.sh.
#
# The train host is the head of the cluster: Ray runs a job's entrypoint there. Where the cluster is
# reached is RAY_ADDRESS of [train] environment; without it on this host. Jobs die with the cluster.

ray_address=http://127.0.0.1:8265

ray_check() {
  local answer
  ray_find "$root/releases/$release/.venv/bin" || fail no-engine \
    "there is no ray in the release's environment, nor on the path of $(id -un)" "add ray[default] to the requirements, or use the engine \"local\""
  ray_choose_address
  answer=$("$ray" job list --address "$ray_address" 2>&1 8>&-) || fail no-engine \
    "Ray does not answer at $ray_address: $(tail -n 1 <<<"$answer")" "start it on the train host (ray start --head), then run the same command again"
}

ray_submit() {
  local job=$1 name=aideploy-$app-$id-$attempt answer options=()
  ((cpus == 0)) || options+=("--entrypoint-num-cpus=$cpus")
  ((gpus == 0)) || options+=("--entrypoint-num-gpus=$gpus")
  ((memory == 0)) || options+=("--entrypoint-memory=$memory")
  # Noted before it is asked for: the name is ours, and Ray refuses a second one of the same name.
  printf 'ray %s %s %s\n' "$name" "$ray_address" "$ray" >"$job/engine"
  answer=$("$ray" job submit --no-wait --address "$ray_address" --submission-id "$name" "${options[@]}" \
    -- "$BASH" "$job/run.sh" </dev/null 2>&1 8>&-) || ray_status "$job" >/dev/null ||
    fail not-started "Ray did not take the job: $(tail -n 1 <<<"$answer")" "see ray status on the host, and [train] resources"
}

ray_alive() {
  local_alive "$1" && return
  case $(ray_status "$1") in
    PENDING | RUNNING) return 0 ;;
    *) return 1 ;;
  esac
}

ray_cancel() {
  local name
  read -r _ name ray_address ray <"$1/engine" || true
  [ -z "${ray-}" ] || "$ray" job stop --address "$ray_address" "$name" >/dev/null 2>&1 8>&- || true
  end_job_processes "$1" || true
}

# -- inside -------------------------------------------------------------------------------------

# ray_find FOLDER: set `ray` to the program, of the release if it has one.
ray_find() {
  ray=$(PATH=$1:$PATH command -v ray) && ray=$(readlink -f -- "$ray")
}

ray_choose_address() {
  local pair
  for pair in "${variables[@]}"; do
    [[ $pair != RAY_ADDRESS=* ]] || ray_address=${pair#*=}
  done
}

# ray_status JOB: its state by Ray; returns 1 where Ray does not know it or does not answer.
ray_status() {
  local name answer
  read -r _ name ray_address ray <"$1/engine" || true
  [ -n "${ray-}" ] || return 1
  answer=$("$ray" job status --address "$ray_address" "$name" 2>&1 8>&-) || return 1
  grep -oE -m 1 'PENDING|RUNNING|STOPPED|SUCCEEDED|FAILED' <<<"$answer"
}
