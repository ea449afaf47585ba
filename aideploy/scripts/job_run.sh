# shellcheck shell=bash
# The run.sh of a training job: runs the training, keeps its limits, and writes last of all how it ended.
# It lives on when nobody is connected; whoever wants to know reads what lies in the job's folder (jobs.sh).
#
#   job_run.sh COMMAND OUTPUTS METRICS SECONDS MEMORY CPUS GPUS REVISION RELEASE PROCESSES PYTHON KEEPER LOG_LIMIT
#
# OUTPUTS: empty where the model is made by another host. SECONDS: how long it may take. MEMORY: bytes, over all its
# processes; 0 is no limit, of CPUS and GPUS likewise. PROCESSES: as many times torchrun runs the command
# here, as one of NNODES hosts; 0 is once, without torchrun. KEEPER: log_keeper.py, which PYTHON runs; LOG_LIMIT: how many
# bytes of what the training prints are kept.

command=$1 outputs=$2 metrics=$3 seconds=$4 memory=$5 cpus=$6 gpus=$7 REVISION=$8 RELEASE=$9
processes=${10} python=${11} keeper=${12} log_limit=${13}
set -uo pipefail
umask 022
job=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
exec </dev/null >>"$job/log" 2>&1
# The sign of life. Nobody runs it twice.
exec 9>>"$job/alive"
flock --wait 10 9 || exit 0
[ ! -e "$job/started" ] || exit 0

now() {
  date -u +%Y-%m-%dT%H:%M:%SZ
}

# kernel_keeps FILE MOST: whether our own control group has a limit in this file that is no higher.
kernel_keeps() {
  local group limit
  group=$(sed -n 's/^0:://p' /proc/self/cgroup)
  limit=$(cut -d ' ' -f 1 "/sys/fs/cgroup$group/$1" 2>/dev/null) || return 1
  [[ $limit =~ ^[0-9]+$ ]] && ((limit <= $2))
}

# choose_limits: what the kernel does not keep, we do. Says which.
choose_limits() {
  local said=()
  watched=0 pinned='' visible=''
  if ((memory > 0)); then
    if kernel_keeps memory.max "$memory"; then
      said+=("memory $memory bytes, kept by the kernel")
    else
      watched=$memory
      said+=("memory $memory bytes, looked at every second")
    fi
  fi
  if ((cpus > 0)); then
    if kernel_keeps cpu.max $((cpus * 100000)); then
      said+=("$cpus processors, kept by the kernel")
    else
      pinned=$(first_processors)
      said+=("processors $pinned")
    fi
  fi
  if ((gpus > 0)); then
    # A cluster has chosen already.
    visible=${CUDA_VISIBLE_DEVICES:-$(emptiest_gpus)}
    said+=("CUDA_VISIBLE_DEVICES=$visible")
  fi
  ((${#said[@]} == 0)) || printf -- '-- limits: %s --\n' "$(printf '%s; ' "${said[@]}" | sed 's/; $//')"
}

# first_processors: so many of those that we may use, as taskset takes them.
first_processors() {
  sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status | tr ',' '\n' |
    while IFS=- read -r from to; do seq "$from" "${to:-$from}"; done | head -n "$cpus" | paste -sd ,
}

# emptiest_gpus: the numbers of those with the most free memory.
emptiest_gpus() {
  answer_of 20 nvidia-smi --query-gpu=memory.free,index --format=csv,noheader,nounits | sort -t , -k 1 -rn |
    head -n "$gpus" | cut -d , -f 2 | tr -d ' ' | sort -n | paste -sd ,
}

# train: becomes the project's own command.
train() {
  local pair runs
  cd -- "$job/work" || exit 1
  # A model that came with the commit is not the result of this training.
  rm -rf -- ${outputs:+"$outputs"} "$metrics"
  [ -z "$visible" ] || export CUDA_VISIBLE_DEVICES=$visible
  while IFS= read -r -d '' pair; do
    if [ -n "$pair" ]; then export "${pair?}"; fi
  done <"$job/env"
  JOB=${job##*/} JOB_DIR=$job RELEASE_DIR=$job/work
  VIRTUAL_ENV=$RELEASE_DIR/.venv PATH=$RELEASE_DIR/.venv/bin:$PATH PYTHONUNBUFFERED=1
  export REVISION RELEASE JOB JOB_DIR RELEASE_DIR VIRTUAL_ENV PATH PYTHONUNBUFFERED
  runs=(bash -c "$command")
  # The ranks of the hosts stay what they are, and nothing is begun anew in their midst.
  ((processes == 0)) || runs=(torchrun --nnodes "$NNODES" --node-rank "$NODE_RANK" --nproc-per-node "$processes"
    --rdzv-backend static --rdzv-id "$JOB" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT"
    --max-restarts 0 --no-python "${runs[@]}")
  exec ${pinned:+taskset -c "$pinned"} "${runs[@]}"
}

# keep_log: becomes what writes the log. It outlives whoever ends all of us: the training may still print.
keep_log() {
  trap '' TERM HUP INT
  if "$python" -I -S -c '' 2>/dev/null; then exec "$python" -I -S -c "$keeper" "$log_limit"; fi
  exec cat
}

# end_log: the last that it printed is there. Somebody who escaped us may have it open still.
end_log() {
  local tries
  for ((tries = 0; tries < 100; tries++)); do
    kill -0 "$log_keeper" 2>/dev/null || return 0
    sleep 0.05
  done
  kill -KILL "$log_keeper" 2>/dev/null
}

# used_memory: what its processes have for themselves, in bytes.
used_memory() {
  local pid files=()
  for pid in $(job_processes "$job"); do files+=("/proc/$pid/status"); done
  ((${#files[@]} > 0)) || { echo 0; return; }
  cat "${files[@]}" 2>/dev/null | awk '/^RssAnon:|^RssShmem:/ { kib += $2 } END { printf "%d\n", kib * 1024 }'
}

# watch: looks every second, and ends the training when it has to. Its exit status says why.
watch() {
  local reason
  # A pipe on which nobody ever writes: a read of it is a sleep without a process.
  exec 7<> <(:)
  while :; do
    read -r -t 1 -u 7
    # Without its keeper the folder may be another attempt's by now.
    kill -0 "$$" 2>/dev/null || exit 0
    reason=0
    if [ -e "$job/cancel" ]; then
      reason=$CANCELLED
    elif ((SECONDS > seconds)); then
      reason=$TIMED_OUT
    elif ((watched > 0)) && (($(used_memory) > watched)); then
      reason=$TOO_LARGE
    fi
    if ((reason > 0)); then
      trap '' TERM
      end_job_processes "$job" "$child"
      exit "$reason"
    fi
  done
}

# oom_kills: how many processes the kernel killed so far for lack of memory, here or anywhere on the machine.
oom_kills() {
  awk '$1 == "oom_kill" { print $2; found = 1 } END { if (!found) print 0 }' /proc/vmstat
}

# judge STATUS VERDICT: set `state`, `code` and `message`, by the strongest evidence.
judge() {
  local limit="$seconds s"
  case $2 in
    "$CANCELLED")
      verdict CANCELLED training-cancelled "the training was cancelled by $(head -n 1 "$job/cancel")"
      return ;;
    "$TIMED_OUT")
      verdict TIMEOUT timeout "the training took longer than its time limit ($limit) and was ended"
      return ;;
    "$TOO_LARGE")
      verdict OUT_OF_MEMORY out-of-memory "the training used more than its $memory bytes of memory and was ended"
      return ;;
  esac
  if [ -n "$outside" ]; then
    verdict LOST job-lost "the training was ended from outside: the host shut down, or somebody ended its process"
  elif (($1 == 137)) && (($(oom_kills) > oom_kills_before)); then
    verdict OUT_OF_MEMORY out-of-memory "the training ran out of memory: the kernel killed it"
  elif (($1 > 128)) && signal=$(kill -l $(($1 - 128)) 2>/dev/null) && [ -n "$signal" ]; then
    verdict FAILED training-failed "the training failed (exit status $1: SIG$signal)"
  elif (($1 != 0)); then
    verdict FAILED training-failed "the training failed (exit status $1)"
  else
    collect
    return
  fi
  if [ "$state" = FAILED ] && df -Pk -- "$job" | awk 'NR == 2 && $4 >= 1024 { exit 1 }'; then
    code=no-space message="no room on the disk: $message"
  fi
}

# verdict STATE CODE MESSAGE
verdict() {
  state=$1 code=$2 message=$3
}

# collect: take what it made into out/. Only plain files are the same on every host.
collect() {
  local made=$job/work/$outputs odd own
  if [ -z "$outputs" ]; then
    verdict SUCCEEDED "" ""
    return
  fi
  state=FAILED code=no-model
  if [ ! -e "$made" ] && [ ! -L "$made" ]; then
    message="the training ended well but wrote no $outputs"
    return
  fi
  odd=$(find "$made" ! -type f ! -type d -printf '%P\n.' -quit)
  if [ -n "$odd" ]; then
    odd=${odd%$'\n.'}
    message="the model holds something that is no plain file: ${odd:-$outputs}"
    return
  fi
  case $(readlink -f -- "$made") in
    "$job/work"/*) ;;
    *) message="the model in $outputs lies outside of the project"; return ;;
  esac
  for own in .file .complete; do
    if [ -d "$made" ] && [ -e "$made/$own" ]; then
      message="the model holds a file $own: that name is aideploy's own"
      return
    fi
  done
  if [ -z "$(find "$made" -type f -size +0 -print -quit)" ]; then
    message="the model in $outputs is empty"
    return
  fi
  keep "$made" || { code=no-space message="the model could not be kept: no room on the disk"; return; }
  verdict SUCCEEDED "" ""
}

# keep MADE: returns 1 where there is no room.
keep() {
  local out=$job/out
  rm -rf -- "$out"
  mkdir -- "$out" || return 1
  # They may lie within the model.
  if [ -f "$job/work/$metrics" ] && [ ! -L "$job/work/$metrics" ]; then
    cp -- "$job/work/$metrics" "$out/metrics.json" || return 1
  fi
  if [ -d "$1" ]; then
    mv -T -- "$1" "$out/model" || return 1
  else
    # A single file keeps its name inside the model's folder.
    mkdir -- "$out/model" && mv -- "$1" "$out/model/" && basename -- "$outputs" >"$out/model/.file" || return 1
  fi
  chmod -R u+rwX,go+rX,go-w -- "$out"
  # What is not needed any more makes room for what is left to write.
  rm -rf -- "$job/work"
  model_manifest "$out/model" >"$job/MANIFEST.sha256" || return 1
  sync -f "$out" 2>/dev/null || sync
  model=$(sha256sum <"$job/MANIFEST.sha256" | cut -d ' ' -f 1)
  bytes=$(du -sb -- "$out/model" | cut -f 1)
}

# write_status EXIT_STATUS: the last word, on the disk before it gets its name.
write_status() {
  local milliseconds=$(($(date +%s%3N) - began_ms))
  {
    printf '{\n  "state": "%s",\n  "exit_status": %s,\n' "$state" "$1"
    printf '  "code": "%s",\n  "message": %s,\n' "$code" "$(json_text "$message")"
    printf '  "began": "%s",\n  "ended": "%s",\n' "$began" "$(now)"
    printf '  "seconds": %d.%03d,\n' $((milliseconds / 1000)) $((milliseconds % 1000))
    printf '  "model": "%s",\n  "bytes": %s\n}\n' "$model" "$bytes"
  } >"$job/status.json.new" && sync -- "$job/status.json.new" &&
    mv -fT -- "$job/status.json.new" "$job/status.json"
}

CANCELLED=71 TIMED_OUT=72 TOO_LARGE=73
began=$(now) began_ms=$(date +%s%3N) outside='' model='' bytes=0 state='' code='' message=''
oom_kills_before=$(oom_kills)
SECONDS=0
printf '%s %s\n' "$$" "$began" >"$job/started" || exit 1
choose_limits
exec 6> >(keep_log 9>&-)
log_keeper=$!
set -m
train >&6 2>&1 6>&- 9>&- &
child=$!
set +m
exec 6>&-
trap 'outside=yes; end_job_processes "$job" "$child"' TERM
watch 9>&- &
watcher=$!

status=0
wait "$child" || status=$?
# A signal ends the wait; the status is the training's own only when it is gone.
while kill -0 "$child" 2>/dev/null; do
  status=0
  wait "$child" || status=$?
done
kill -TERM "$watcher" 2>/dev/null
ended=0
wait "$watcher" || ended=$?
# What it left running would keep the memory and the GPUs.
end_job_processes "$job" "$child"
end_log
judge "$status" "$ended"
rm -rf -- "$job/work" "$job/env"
write_status "$status" || { sleep 5; write_status "$status"; }
# Whatever becomes of it, the training is over.
teller=${job%/jobs/*}/metrics.sh
[ ! -x "$teller" ] || timeout -k 5 20 "$teller" 9>&- || true
