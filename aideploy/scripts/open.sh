# shellcheck shell=bash
# The facts about a host that a command needs before it decides anything. Changes nothing.
#
#   open.sh ROOT PYTHON JOURNAL_LINES [FILE…]
#
# JOURNAL_LINES: how many of its last lines, at least. FILEs are configuration that we manage: the checksum of each tells
# whether it is what it should be.

root=$(expand "$1") python=$2 journal_lines=$3
shift 3

step "look around"
emit home "$HOME"
emit root "$root"
emit user "$(id -un)"
emit uid "$(id -u)"
# In a shell of its own: the file sets variables.
# shellcheck source=/dev/null
emit system "$( (. /etc/os-release && printf '%s' "${PRETTY_NAME-}") 2>/dev/null || uname -s)"
if [ -d "$root" ]; then
  # Columns of df -P: file system, blocks, used, available, …
  read -r _ _ _ free _ < <(df -Pk -- "$root" | tail -n 1)
  emit free "$((free * 1024))"
  [ -w "$root" ] && emit writable yes
  [ -d "$root/due" ] && emit due yes
fi
# What is there and does not work is as good as missing.
if git=$(git --version 2>/dev/null); then emit git "$git"; fi
if version=$("$python" -S -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null); then
  emit python "$(command -v -- "$python")"
  emit python.version "$version"
fi
if command -v nvidia-smi >/dev/null; then
  status=0
  gpus=$(answer_of 20 nvidia-smi --query-gpu=name,driver_version,memory.total,memory.free --format=csv,noheader 2>/dev/null) || status=$?
  if ((status == 0)); then
    emit gpus "$gpus"
  elif ((status == 124)); then
    emit gpus-silent yes
    printf -- '-- nvidia-smi gives no answer within 20 s --\n'
  fi
fi

emit_checksums "$@"

# A link to nothing is what a person left who cleaned up; a deploy replaces it. Anything else is not ours to replace.
if [ -e "$root/current" ]; then
  live=$(readlink -- "$root/current" || true)
  live=${live##*/}
  if [ -n "$live" ] && [ "$root/current" -ef "$root/releases/$live" ] && [ -e "$root/current/release.json" ]; then
    emit current "$live"
  else
    emit odd "$root/current is not a link to a whole release"
  fi
fi
if [ -e "$root/journal.jsonl" ] && ! { [ -f "$root/journal.jsonl" ] && [ -w "$root/journal.jsonl" ]; }; then
  emit odd "$root/journal.jsonl is not a file that $(id -un) may write"
fi
for release in "$root"/releases/*/release.json; do
  [ -e "$release" ] && emit release "$(basename -- "${release%/release.json}")"
done
for model in "$root"/models/*/.complete; do
  [ -e "$model" ] && emit model "$(basename -- "${model%/.complete}")"
done
if [ -n "$git" ] && [ -d "$root/repo.git" ]; then
  # What the mirror knows, so that a push sends only what is new.
  git --git-dir="$root/repo.git" for-each-ref --sort=-committerdate --count=20 --format='%(objectname)' 2>/dev/null |
    while IFS= read -r have; do emit have "$have"; done || true
fi
emit_journal "$journal_lines"
