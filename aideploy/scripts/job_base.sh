# shellcheck shell=bash
# What a job's own run.sh and the scripts that look after jobs share. A library; needs no prelude.

# json_text TEXT: as a JSON string, without the characters that a terminal or a parser would mind.
json_text() {
  local text
  text=$(printf '%s' "$1" | tr -d '\000-\037\177')
  text=${text//\\/\\\\}
  printf '"%s"' "${text//\"/\\\"}"
}

# job_processes JOB: the ids of all processes that inherited the job's variables.
job_processes() {
  grep -lzxF -- "JOB_DIR=$1" /proc/[0-9]*/environ 2>/dev/null | cut -d / -f 3
}

# end_job_processes JOB [GROUP]: end them, and a process group; after five seconds they have to. What
# has hidden its variables is still in the group, what left the group still has its variables.
end_job_processes() {
  local tries pids signal
  for ((tries = 0; tries < 100; tries++)); do
    pids=$(job_processes "$1")
    if [ -z "$pids" ] && ! { [ -n "${2-}" ] && kill -0 -- "-$2" 2>/dev/null; }; then return 0; fi
    signal=''
    if ((tries == 0)); then signal=TERM; elif ((tries >= 50 && tries % 10 == 0)); then signal=KILL; fi
    if [ -n "$signal" ]; then
      # shellcheck disable=SC2086  # these are numbers
      kill "-$signal" $pids ${2:+"-$2"} 2>/dev/null
    fi
    sleep 0.1
  done
  return 1
}
