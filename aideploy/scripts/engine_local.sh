# shellcheck shell=bash
# The engine "local": the job runs on this host, kept by systemd where it may be ours, else by itself.
# A library behind jobs.sh, which says what its functions do.
#
# Its sign of life is the lock on JOB/alive that run.sh holds. With systemd the kernel keeps the limits
# and ends everything with the job; without, run.sh watches them itself.

local_check() {
  local found status=0
  ((gpus > 0)) || return 0
  found=$(answer_of 20 nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null) || status=$?
  ((status != 124)) || fail no-gpu "the training needs $gpus GPUs and nvidia-smi gives no answer within 20 s" \
    "the driver hangs: see journalctl -k on the host; mostly a restart of it helps"
  ((status == 0)) || found=''
  found=$(grep -c . <<<"$found" || true)
  ((found >= gpus)) || fail no-gpu "the training needs $gpus GPUs and nvidia-smi shows $found" \
    "see what nvidia-smi says on the host, or correct [train] resources"
}

local_submit() {
  local job=$1 tries
  case $(local_manager) in
    systemd) printf 'local system %s\n' "aideploy-$app-$id.service" >"$job/engine" ;;
    systemd-user) printf 'local user %s\n' "aideploy-$app-$id.service" >"$job/engine" ;;
    *) printf 'local\n' >"$job/engine" ;;
  esac
  local_unit "$job"
  if [ -z "$unit" ] || ! local_start_unit "$job"; then
    printf 'local\n' >"$job/engine"
    # Nothing of ours goes with it: no channel, no lock.
    setsid --fork bash "$job/run.sh" </dev/null >/dev/null 2>&1 8>&-
  fi
  for ((tries = 0; tries < 200; tries++)); do
    [ ! -e "$job/started" ] || return 0
    sleep 0.05
  done
  fail not-started "the job did not start within 10 s" "look at $job/log on the host, then run the same command again"
}

local_alive() {
  local status=0
  [ -e "$1/alive" ] || return 1
  flock --nonblock --shared --conflict-exit-code 9 "$1/alive" true 8>&- || status=$?
  ((status == 9))
}

local_cancel() {
  local_unit "$1"
  if [ -n "$unit" ]; then
    systemctl "--$scope" stop "$unit" 2>/dev/null || true
  fi
  end_job_processes "$1" || true
}

# -- inside -------------------------------------------------------------------------------------

# local_manager: systemd, systemd-user or none. A user's systemd is of use where it outlives the login.
local_manager() {
  if ((EUID == 0)); then
    if [ -d /run/systemd/system ]; then echo systemd; else echo none; fi
  elif [ -S "/run/user/$EUID/systemd/private" ] && [ -e "/var/lib/systemd/linger/$(id -un)" ]; then
    echo systemd-user
  else
    echo none
  fi
}

# local_unit JOB: set `scope` and `unit` to those of its unit; empty where it has none.
local_unit() {
  unit='' scope=''
  [ ! -e "$1/engine" ] || read -r _ scope unit <"$1/engine" || true
  [ "$scope" != user ] || export XDG_RUNTIME_DIR=/run/user/$EUID
}

# local_start_unit JOB: returns 1 where systemd does not want to.
local_start_unit() {
  local name variables=() limits=()
  for name in PATH HOME USER LOGNAME SHELL LANG LC_ALL TMPDIR; do
    [ -z "${!name-}" ] || variables+=("--setenv=$name=${!name}")
  done
  ((memory == 0)) || limits+=(-p "MemoryMax=$memory" -p MemorySwapMax=0)
  ((cpus == 0)) || limits+=(-p "CPUQuota=${cpus}00%")
  # run.sh has to outlive what the kernel kills, to tell of it.
  systemd-run "--$scope" --quiet --collect --service-type=exec --unit="$unit" -p OOMPolicy=continue \
    -p TasksMax=infinity -p TimeoutStopSec=20 "${limits[@]}" "${variables[@]}" \
    "$BASH" "$1/run.sh" </dev/null 2>&1
}
