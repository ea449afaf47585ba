# shellcheck shell=bash
# Training jobs. A library behind job_base.sh, in front of the scripts job_*.sh and of the engines;
# a script sets `root` before it calls a function of it.
#
# A job is a folder, and what lies in it is the truth:
#
#   jobs/<id>/
#     spec.json         what was asked for, by whom and when; one object on one line
#     key               its inputs, a line each; the id is the beginning of the sha256 over them
#     engine            who keeps it running: the name of an engine, and what that noted for itself
#     gang              where several hosts train together: a name of its own for this attempt, how many
#                       hosts, and the address and port where they meet; the others have the same id
#     run.sh            runs the training and sees how it ends (job_run.sh)
#     env               the variables of the training, readable for us alone, until it has ended
#     work/             its own copy of the commit, until it has ended
#     log               what it printed
#     started           its process id and the moment, once it runs
#     cancel            who asked for its end, if somebody did
#     out/              model/ and metrics.json, once it ended well
#     MANIFEST.sha256   the checksums of the files in out/model
#     status.json       last, and by rename: how it ended
#     lost              what `engine` says of an attempt that whoever looked last found to be lost: for those who cannot
#                       ask the engine (metrics.py)
#     attempts/<n>/     what earlier attempts with the same inputs left: spec.json, log, status.json
#
# An engine is a library engine_NAME.sh with these functions; JOB is the folder. It only has to know
# whether the job lives. Who calls them holds the lock of the app, but for alive and cancel.
#
#   NAME_check           fail no-engine where this host cannot use it; it may look at `gpus`
#   NAME_submit JOB      have JOB/run.sh run, detached from us, and note in JOB/engine (which begins
#                        with NAME) what is needed to find it again. Returns when it is in the
#                        engine's hands. `app`, `id`, `memory` (bytes), `cpus`, `gpus` say what it
#                        is and may use; 0 is no limit. run.sh itself sees to limits that the kernel
#                        does not enforce.
#   NAME_alive JOB       returns 0 while the engine has it, waiting or running, and 1 afterwards
#   NAME_cancel JOB      take it from the engine, and end what still runs of it. run.sh was asked
#                        before, with the file JOB/cancel, and had its time to write status.json.
#   NAME_tell JOB        print what the engine knows of a job that is gone without a word; where an
#                        engine has nothing to tell, there is no such function

# engine VERB JOB: call the function of the job's own engine.
engine() {
  local name='' rest
  [ ! -e "$2/engine" ] || read -r name rest <"$2/engine" || true
  # Without one it was never handed over.
  [ -n "$name" ] || { [ "$1" != alive ] && return 0 || return 1; }
  [ "$1" != tell ] || declare -F "${name}_tell" >/dev/null || return 0
  declare -F "${name}_$1" >/dev/null ||
    fail no-engine "the engine $name of the job ${2##*/} is not known here" "use the version of aideploy that began it"
  "${name}_$1" "$2"
}

# job_state JOB: set `state` to PENDING, RUNNING or LOST, or to what its status says.
job_state() {
  local job=$1 look noted=''
  [ ! -e "$job/engine" ] || noted=$(<"$job/engine")
  for look in 1 2 3; do
    if [ -e "$job/status.json" ]; then
      state=$(job_said "$job" state)
      return
    fi
    if engine alive "$job"; then
      if [ -e "$job/started" ]; then state=RUNNING; else state=PENDING; fi
      [ ! -e "$job/lost" ] || rm -f -- "$job/lost"
      return
    fi
    # Between its status and its end, and while it is handed over, it is for a moment neither.
    ((look == 3)) || sleep 0.3
  done
  state=LOST
  # Another attempt may have begun in this folder meanwhile: the engine has another note of that.
  { [ -e "$job/lost" ] || printf '%s\n' "$noted" >"$job/lost"; } 2>/dev/null || true
}

# end_job JOB WHO: it is asked, then it has to.
end_job() {
  local tries
  printf '%s\n' "$2" >"$1/cancel" || fail no-space "cannot write below $1" "make room on the disk of the host"
  for ((tries = 0; tries < 250; tries++)); do
    if [ -e "$1/status.json" ] || [ ! -e "$1/started" ]; then break; fi
    sleep 0.1
  done
  engine cancel "$1"
}

# job_said JOB KEY: a text or a number of its status.
job_said() {
  local value
  value=$(sed -nE 's/^ *"'"$2"'": "?(.*)$/\1/p' -- "$1/status.json" | head -n 1)
  value=${value%,}
  value=${value%\"}
  value=${value//\\\"/\"}
  printf '%s\n' "${value//\\\\/\\}"
}

# jobs: the folders of all jobs.
jobs_here() {
  local job
  for job in "$root"/jobs/*/spec.json; do
    if [ -e "$job" ]; then printf '%s\n' "${job%/spec.json}"; fi
  done
}

# require_job ID: set `job` to its folder.
require_job() {
  job=$root/jobs/$1
  [ -e "$job/spec.json" ] || fail no-job "there is no job $1 here any more" "fab train.status"
}

# short ID: as people see it.
short() {
  printf '%s\n' "${1:0:7}"
}
