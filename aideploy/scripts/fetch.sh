# shellcheck shell=bash
# Bring one exact commit to the host and unpack it into a release.
#
#   fetch.sh ROOT SOURCE REPOSITORY REVISION SUBDIRECTORY STAMP LIVE
#
# SOURCE: "pull" from REPOSITORY, or "push": REPOSITORY is then a git pack as base64 (empty when the host
# has everything, or when the pack came over another channel into push.pack). STAMP: the first part of the release's name. LIVE: the commit that is live now.

root=$(expand "$1") source=$2 repository=$3 revision=$4 subdirectory=$5 stamp=$6 live=$7
repo=$root/repo.git

# The mirror holds nothing that cannot be had again: one that is damaged is made anew.
if ! git_ rev-parse --git-dir >/dev/null 2>&1; then
  step "make the mirror"
  rm -rf -- "$repo" "$repo.new"
  git init --quiet --bare "$repo.new"
  mv -T -- "$repo.new" "$repo"
fi
# We hold the lock of the app: a lock file of git's own is what a power cut left.
find "$repo" -name '*.lock' -type f -delete

# drop_halves: what a fetch or an unpacking that failed left; it may be what fills the disk.
drop_halves() {
  local old
  find "$repo/objects" -name 'tmp_*' -type f -delete
  for old in "$root"/releases/[12]*T*Z-*; do
    # It never became whole, and nothing points to it.
    [ -d "$old" ] && [ ! -e "$old/release.json" ] && rm -rf -- "$old"
  done
  return 0
}
drop_halves
trap '[ $? = 0 ] || drop_halves' EXIT

if [ "$source" = pull ]; then
  step "fetch $revision"
  fetch_from "$repository"
else
  if [ -s "$root/push.pack" ] || [ -n "$repository" ]; then
    step "unpack the commits"
    if [ -n "$repository" ]; then base64 -d <<<"$repository" >"$root/push.pack"; fi
    take_pack "$root/push.pack"
    rm -f -- "$root/push.pack"
  fi
  # A ref keeps the commit from being collected, and tells the next push what we have.
  git_ update-ref "refs/pushed/$revision" "$revision" ||
    fail no-revision "the commit $revision did not arrive" "run the same command again"
  git_ for-each-ref --sort=-committerdate --format='%(refname)' refs/pushed | tail -n +21 |
    while IFS= read -r old; do git_ update-ref -d "$old"; done
fi

find_commit "$revision" "$live"
find_tree "$subdirectory"

release=$stamp-${commit:0:7}
step "unpack ${commit:0:7}"
mkdir -p -- "$root/releases/$release"
git_ archive --format=tar "$tree" | tar -x -C "$root/releases/$release" --no-same-owner ||
  fail no-space "cannot unpack the commit" "make room on the disk of the host"
# It is what says that a release is whole, and so it is written last.
if [ -e "$root/releases/$release/release.json" ] || [ -L "$root/releases/$release/release.json" ]; then
  rm -rf -- "${root:?}/releases/$release"
  fail own-name "the commit has a file release.json at the top of the application: that name is aideploy's own" \
    "give the file another name, commit and push"
fi
if git_ cat-file -e "$commit:.gitmodules" 2>/dev/null; then
  emit notice "the repository has submodules: they are not part of a release"
fi
emit tree "$(git_ rev-parse "$tree^{tree}")"
emit release "$release"
