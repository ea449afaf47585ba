# shellcheck shell=bash
# The engine "slurm": the job waits in the queue of a Slurm cluster and runs where Slurm says (sbatch(1), squeue(1)).
# A library behind jobs.sh, which says what its functions do, and engine_local.sh.
#
# The compute nodes have to see the job's folder under the same path. Slurm keeps the limits; run.sh
# keeps its own as well, so that it can tell what happened.

slurm_check() {
  local program answer
  for program in sbatch squeue scancel; do
    command -v "$program" >/dev/null ||
      fail no-engine "there is no $program on the path of $(id -un)" "install Slurm on the train host, or use the engine \"local\""
  done
  answer=$(squeue --me --noheader 2>&1 >/dev/null) ||
    fail no-engine "Slurm does not answer: ${answer##*$'\n'}" "see sinfo on the host, then run the same command again"
}

slurm_submit() {
  local job=$1 number answer options
  # Submitted by somebody who died before it could be noted: it is still that one.
  number=$(squeue --me --noheader --name="$(slurm_name "$job")" --format=%i 2>/dev/null | head -n 1)
  if [ -z "$number" ]; then
    # A job that Slurm begins anew would find its own traces and give up.
    options=(--no-requeue --parsable --output=/dev/null "--job-name=$(slurm_name "$job")" "--chdir=$job")
    ((cpus == 0)) || options+=("--cpus-per-task=$cpus")
    ((memory == 0)) || options+=("--mem=$(((memory + 1048575) / 1048576))M")
    ((gpus == 0)) || options+=("--gres=gpu:$gpus")
    # Slurm runs a copy of a script, and run.sh knows its job by where it lies.
    answer=$(sbatch "${options[@]}" "--wrap=exec $(printf '%q ' "$BASH" "$job/run.sh")" </dev/null 2>&1 8>&-) ||
      fail not-started "Slurm did not take the job: ${answer##*$'\n'}" "see sinfo on the host, and [train] resources"
    # With --parsable it is "number" or "number;cluster", behind what the site may say.
    number=${answer##*$'\n'}
    number=${number%%;*}
  fi
  printf 'slurm %s\n' "$number" >"$job/engine"
  printf -- '-- Slurm job %s: %s --\n' "$number" "$(slurm_standing "$number")"
}

slurm_alive() {
  local answer number
  local_alive "$1" && return
  read -r _ number <"$1/engine" || true
  [[ ${number-} =~ ^[0-9]+$ ]] || return 1
  if answer=$(squeue --noheader --jobs="$number" --format=%T 2>&1); then
    [ -n "$answer" ]
  else
    # It is gone when Slurm says so, not when Slurm is away for a while.
    [[ $answer != *"Invalid job id"* ]]
  fi
}

slurm_cancel() {
  local number tries
  read -r _ number <"$1/engine" || true
  if [[ ${number-} =~ ^[0-9]+$ ]]; then
    scancel "$number" 2>/dev/null || true
    for ((tries = 0; tries < 100; tries++)); do
      slurm_alive "$1" || break
      sleep 0.2
    done
  fi
  end_job_processes "$1" || true
}

# -- inside -------------------------------------------------------------------------------------

slurm_name() {
  printf 'aideploy-%s-%s\n' "$(basename -- "$root")" "${1##*/}"
}

# slurm_standing NUMBER: the state, and why it waits.
slurm_standing() {
  squeue --noheader --jobs="$1" --format='%T, %r' 2>/dev/null | head -n 1
}
