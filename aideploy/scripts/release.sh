# shellcheck shell=bash
# Functions about releases, shared by the scripts of the phases. They use `root`, set before.

# journal LINE: append one line of JSON; returns 1 where there is no room. A line that a power cut
# tore stays alone on its line.
journal() {
  local file=$root/journal.jsonl
  if [ -s "$file" ] && [ -n "$(tail -c 1 -- "$file")" ]; then
    printf '\n' >>"$file" || return 1
  fi
  printf '%s\n' "$1" >>"$file" || return 1
  sync -- "$file" 2>/dev/null || sync
}

# enter_release RELEASE: where the project's own commands run, in the release's environment.
enter_release() {
  cd -- "$root/releases/$1"
  RELEASE=$1 RELEASE_DIR=$root/releases/$1
  VIRTUAL_ENV=$RELEASE_DIR/.venv PATH=$RELEASE_DIR/.venv/bin:$PATH PYTHONUNBUFFERED=1
  export RELEASE RELEASE_DIR VIRTUAL_ENV PATH PYTHONUNBUFFERED
}

# export_all NAME=VALUE…: the settings' environment.
export_all() {
  local pair
  for pair in "$@"; do export "${pair?}"; done
}

# link_model RELEASE MODEL OUTPUTS: the release finds the model where its training would have left it.
link_model() {
  local place=$root/releases/$1/$3 target=$root/models/$2
  mkdir -p -- "$(dirname -- "$place")"
  # A single file keeps its name inside the model's folder.
  if [ -f "$target/.file" ]; then
    target=$target/$(cat -- "$target/.file")
  fi
  rm -rf -- "$place"
  ln -s -- "$target" "$place"
}

# model_id FOLDER: the sha256 over the names and checksums of all files below it, so that the same
# files have the same id on every host. models.py computes the same.
model_id() {
  model_manifest "$1" | sha256sum | cut -d ' ' -f 1
}

# model_manifest FOLDER: the checksum and the name of every file below it, but for what we keep beside them.
model_manifest() {
  (cd -- "$1" && find . -type f ! -path ./.complete ! -path ./.file ! -path ./.contents ! -path ./.arrived -print0 |
    LC_ALL=C sort -z | xargs -0 -r sha256sum --)
}

# publish_model FOLDER MODEL: what lies in FOLDER is verified and becomes models/MODEL, by one rename. From then on
# its files are not written to any more.
publish_model() {
  local target=$root/models/$2 old=$root/models/.incoming-$2.old
  # Its name comes from another host, and a release gets a link to it.
  if [ -f "$1/.file" ] && ! { [[ $(<"$1/.file") != */* ]] && [ -f "$1/$(<"$1/.file")" ]; }; then
    fail damaged "the single file of the model is none of its files" "run the same command again"
  fi
  rm -f -- "$1/.arrived" "$1/.contents"
  chmod -R u+rwX,go+rX,go-w -- "$1"
  find "$1" -type f -exec chmod a-w -- {} +
  sync -f "$1" 2>/dev/null || sync
  : >"$1/.complete"
  rm -rf -- "$old"
  # A damaged one, or half of one, may be what a service reads now: it is gone for an instant, not for a while.
  [ ! -e "$target" ] || mv -T -- "$target" "$old"
  mv -T -- "$1" "$target"
  rm -rf -- "$old"
}

# require_room FOLDER BYTES: end here when so many bytes would not leave the host some room to live.
require_room() {
  local free reserve=$((100 * 1024 * 1024))
  read -r _ _ _ free _ < <(df -Pk -- "$1" | tail -n 1)
  (($2 + reserve <= free * 1024)) || fail no-space \
    "the model needs $(($2 / 1024 / 1024)) MB more and 100 MB to spare, $((free / 1024)) MB are free at $1" \
    "make room on the disk of the host; nothing was sent"
}

# same_address FOUND WANTED: end here when none of the addresses where fab setup lets the service listen, one a line, is
# the one where hosts.toml lets it be asked.
same_address() {
  local found
  while IFS= read -r found; do
    case $found in "$2" | "0.0.0.0:${2##*:}" | "[::]:${2##*:}") return 0 ;; esac
  done <<<"$1"
  fail not-set-up "this host was set up to serve at ${1//$'\n'/, }, and hosts.toml says $2" "fab setup"
}

# prove SLOT PYTHON PROGRAM REQUEST WHAT VERB: the service is started or restarted and has to become well.
# A REQUEST without an address is put to the slot's own. WHAT: the beginning of the sentence when it does not.
prove() {
  local slot=$1 what=$5 status=0
  moment=$(service_moment "$slot")
  "service_$6" "$slot" || status=$?
  if ((status != 0)); then
    health="it could not be started"
  else
    export_slot "$slot"
    probe "$2" "$3" "$4" "$(service_pid "$slot")" || status=$?
  fi
  ((status == 0)) || unwell "$slot" "$what$health"
}

# export_slot SLOT: what the slot tells its service, for those who ask it: BIND, PORT and SLOT.
export_slot() {
  set -a
  # shellcheck source=/dev/null  # written by fab setup
  [ ! -e "$root/slots/$1/env" ] || . "$root/slots/$1/env"
  set +a
}

# golden SLOT PYTHON PROGRAM REQUEST FILE WHAT: recorded requests are put to the service, which has to answer
# as FILE says; see golden.py. Without a PROGRAM there are none. WHAT: the beginning of the sentence when
# it does not.
golden() {
  local answer status=0
  [ -n "$3" ] || return 0
  step "put the golden requests to it"
  export_slot "$1"
  answer=$("$2" -I -c "$3" prove "$4" "$5" "$(service_pid "$1")" 2>&1) || status=$?
  printf '%s\n' "$answer"
  answer=${answer##*$'\n'}
  ((status == 0)) || fail golden "$6$answer" "${next-}"
  health="$health, $answer"
}

# unwell SLOT MESSAGE: show what the service wrote last, and end.
unwell() {
  printf '%s\n' "-- what the service wrote last --"
  service_log "$1" 15 "${moment-}" || true
  fail unhealthy "$2" "${next-}"
}

# probe PYTHON PROGRAM REQUEST [PID]: ask the service whether it is well; see probe.py.
probe() {
  local answer status=0
  answer=$("$1" -I -c "$2" "$3" "${4-}" 2>&1) || status=$?
  printf '%s\n' "$answer"
  health=${answer##*$'\n'}
  return "$status"
}
