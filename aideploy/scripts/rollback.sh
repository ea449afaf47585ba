# shellcheck shell=bash
# What this host could go back to, and what would be lost. Changes nothing.
#
#   rollback.sh ROOT MOST MOST_COMMITS [RELEASE]
#
# Looks at what is live and what is older, MOST whole releases in all, or at RELEASE alone. Emits for each `record.RELEASE`
# (its release.json), `changed.RELEASE` (see manifest.sh), `commit.RELEASE` (those that are live and not in it,
# newest first, at most MOST_COMMITS) and `commits.RELEASE` (how many); `record` is of what is live.

root=$(expand "$1") most=$2 most_commits=$3 wanted=${4-}
repo=$root/repo.git
git_() { git --git-dir="$repo" "$@"; }
live=$(readlink -- "$root/current" || true)
live=${live##*/}

# look_at RELEASE
look_at() {
  local release=$1 revision commits line
  emit_file "record.$release" <"$root/releases/$release/release.json"
  emit_changes "changed.$release" "$release"
  revision=$(revision_of "$release")
  # A mirror that does not know them is no reason to stay.
  if [ -n "$revision" ] && [ -n "$live_revision" ] && commits=$(git_ rev-list --count "$revision..$live_revision" -- 2>/dev/null); then
    emit "commits.$release" "$commits"
    git_ log --max-count="$most_commits" --format='%h %s (%an)' "$revision..$live_revision" -- 2>/dev/null |
      while IFS= read -r line; do emit "commit.$release" "$line"; done
  fi
}

step "look at what there is to go back to"
live_revision=''
if [ -n "$live" ] && [ -r "$root/releases/$live/release.json" ]; then
  live_revision=$(revision_of "$live")
  emit_file record <"$root/releases/$live/release.json"
fi
if [ -n "$wanted" ]; then
  [ ! -r "$root/releases/$wanted/release.json" ] || look_at "$wanted"
  exit 0
fi
while IFS= read -r release; do look_at "$release"; done < <(
  for place in "$root"/releases/[12]*T*Z-*/release.json; do
    [ ! -r "$place" ] || basename -- "${place%/release.json}"
  done | LC_ALL=C sort -r | awk -v most="$most" -v live="$live" '(live == "" || $0 "" <= live "") && ++count <= most'
)
