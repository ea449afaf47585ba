# shellcheck shell=bash
# Which commits one release has and the other lacks, as far as the mirror knows. Changes nothing.
#
#   commits_between.sh ROOT BEFORE AFTER MOST
#
# BEFORE, AFTER: full commits. Emits `known` where both are in the mirror; then `gained` and `lost`, at most MOST
# lines each of commit, author and subject with a NUL in between, newest first, and how many there are in all.

root=$(expand "$1") before=$2 after=$3 most=$4
# shellcheck disable=SC2034  # for git_
repo=$root/repo.git

# tell KEY RANGE
tell() {
  git_ log --no-show-signature --max-count="$most" --format='%h%x00%an%x00%s' "$2" | emit_file "$1"
  emit "$1.count" "$(git_ rev-list --count "$2")"
}

if git_ cat-file -e "$before^{commit}" 2>/dev/null && git_ cat-file -e "$after^{commit}" 2>/dev/null; then
  emit known yes
  tell gained "$before..$after"
  tell lost "$after..$before"
fi
