# shellcheck shell=bash
# Bring one exact commit to the host and unpack it into a release.
#
#   fetch.sh ROOT SOURCE REPOSITORY REVISION SUBDIRECTORY STAMP LIVE
#
# SOURCE: "pull" from REPOSITORY, or "push": REPOSITORY is then a git pack as base64 (empty when the host
# has everything, or when the pack came over another channel into push.pack). STAMP: the first part of the release's name. LIVE: the commit that is live now.

root=$(expand "$1") source=$2 repository=$3 revision=$4 subdirectory=$5 stamp=$6 live=$7
repo=$root/repo.git

export GIT_TERMINAL_PROMPT=0 GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -o BatchMode=yes}"
git_() { git --git-dir="$repo" "$@"; }

if [ ! -f "$repo/HEAD" ]; then
  step "make the mirror"
  rm -rf -- "$repo.new"
  git init --quiet --bare "$repo.new"
  mv -T -- "$repo.new" "$repo"
fi
# We hold the lock of the app: a lock file of git's own is what a power cut left.
find "$repo" -name '*.lock' -type f -delete

# drop_halves: what a fetch or an unpacking that failed left; it may be what fills the disk.
drop_halves() {
  local old
  find "$repo/objects" -name 'tmp_*' -type f -delete
  for old in "$root"/releases/*; do
    # It never became whole, and nothing points to it.
    [ -d "$old" ] && [ ! -e "$old/release.json" ] && rm -rf -- "$old"
  done
  return 0
}
drop_halves
trap '[ $? = 0 ] || drop_halves' EXIT

if [ "$source" = pull ]; then
  step "fetch $revision"
  if ! output=$(git_ fetch --quiet --prune --no-write-fetch-head "$repository" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' 2>&1); then
    printf '%s\n' "$output"
    case $output in
      *"could not read Username"* | *"Authentication failed"* | *"Permission denied"* | *"terminal prompts disabled"*)
        fail no-access "the host may not read the repository $repository" \
          "give the host's user a deploy key or a credential helper, or let the controller send the commits: [app] source = \"push\"" ;;
      *"Host key verification failed"*)
        fail no-access "the host does not know the host key of the repository $repository" \
          "add it to known_hosts of the user $(id -un) on the host, or use [app] source = \"push\"" ;;
      *"No space left"*) fail no-space "no room for the repository" "make room on the disk of the host" ;;
      *) fail no-repository "cannot fetch from $repository" "check [app] repository, and that the host reaches it" ;;
    esac
  fi
else
  if [ -s "$root/push.pack" ] || [ -n "$repository" ]; then
    step "unpack the commits"
    if [ -n "$repository" ]; then base64 -d <<<"$repository" >"$root/push.pack"; fi
    git_ index-pack --stdin --fix-thin <"$root/push.pack" >/dev/null || {
      # Half a pack must not stand in the way of the next one.
      rm -f -- "$root/push.pack"
      fail damaged "the commits did not arrive whole" "run the same command again"
    }
    rm -f -- "$root/push.pack"
  fi
  # A ref keeps the commit from being collected, and tells the next push what we have.
  git_ update-ref "refs/pushed/$revision" "$revision" ||
    fail no-revision "the commit $revision did not arrive" "run the same command again"
  git_ for-each-ref --sort=-committerdate --format='%(refname)' refs/pushed | tail -n +21 |
    while IFS= read -r old; do git_ update-ref -d "$old"; done
fi

commit=''
for name in "refs/heads/$revision" "refs/tags/$revision" "$revision"; do
  if commit=$(git_ rev-parse --verify --quiet "$name^{commit}"); then break; fi
done
if [ -z "$commit" ]; then
  near=$(git_ for-each-ref --count=8 --sort=-committerdate --format='%(refname:short)' refs/heads refs/tags | paste -sd ' ')
  fail no-revision "there is no branch, tag or commit $revision in the repository" "known: ${near:-nothing}"
fi
emit commit "$commit"
emit subject "$(git_ log -1 --format=%s "$commit")"
emit author "$(git_ log -1 --format=%an "$commit")"
if [ -n "$live" ] && git_ cat-file -e "$live^{commit}" 2>/dev/null; then
  read -r behind ahead < <(git_ rev-list --left-right --count "$live...$commit")
  emit ahead "$ahead"
  emit behind "$behind"
fi

tree=$commit
if [ -n "$subdirectory" ]; then
  tree=$commit:$subdirectory
  [ "$(git_ cat-file -t "$tree" 2>/dev/null)" = tree ] ||
    fail no-subdirectory "the commit ${commit:0:7} has no folder $subdirectory" "check [app] subdirectory"
fi

release=$stamp-${commit:0:7}
step "unpack ${commit:0:7}"
mkdir -p -- "$root/releases/$release"
git_ archive --format=tar "$tree" | tar -x -C "$root/releases/$release" --no-same-owner ||
  fail no-space "cannot unpack the commit" "make room on the disk of the host"
if git_ cat-file -e "$commit:.gitmodules" 2>/dev/null; then
  emit notice "the repository has submodules: they are not part of a release"
fi
emit tree "$(git_ rev-parse "$tree^{tree}")"
emit release "$release"
