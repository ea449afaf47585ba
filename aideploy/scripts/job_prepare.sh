# shellcheck shell=bash
# What begins a job in a folder of its own. A library behind commits.sh and jobs.sh. A script sets `root`, `job`,
# `id`, `hash`, `attempt`, `tree`, `key` (a file), `spec`, `run`, `engine`, `variables` and `gang`, which is
# empty for a job of one host.

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

# next_attempt: the number of the attempt that begins where there was one before.
next_attempt() {
  printf '%s\n' $(($(find "$job/attempts" -mindepth 1 -maxdepth 1 -type d | wc -l) + 2))
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
  [ -z "$gang" ] || printf '%s\n' "$gang" >"$new/gang"
  mv -T -- "$new" "$job"
}
