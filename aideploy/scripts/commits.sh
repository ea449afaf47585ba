# shellcheck shell=bash
# Commits in a bare repository on the host: how they get there, and which one is meant. A library. A
# script sets `repo`, the repository, before it calls a function of it.

# A server that says nothing for so long is given up: less than a byte a second over HTTP, no word
# at all over SSH.
silence=20
ssh_silence=(-o "ConnectTimeout=$silence" -o ServerAliveInterval=10 -o ServerAliveCountMax=3)
export GIT_TERMINAL_PROMPT=0 GIT_HTTP_LOW_SPEED_LIMIT=1 GIT_HTTP_LOW_SPEED_TIME=$silence
export GIT_SSH_COMMAND="${GIT_SSH_COMMAND:-ssh -o BatchMode=yes ${ssh_silence[*]}}"
git_() { git --git-dir="$repo" "$@"; }

# fetch_from REPOSITORY: all branches and tags, as they are there now.
fetch_from() {
  local repository=$1 output shown
  if ! output=$(git_ fetch --quiet --prune --no-write-fetch-head "$repository" '+refs/heads/*:refs/heads/*' '+refs/tags/*:refs/tags/*' 2>&1); then
    # A password in its URL is for the server alone.
    shown=$(sed -E 's#^(https?://)[^/@]*@#\1#' <<<"$repository")
    printf '%s\n' "${output//"$repository"/"$shown"}"
    case $output in
      *"could not read Username"* | *"Authentication failed"* | *"Permission denied"* | *"terminal prompts disabled"*)
        fail no-access "the host may not read the repository $shown" \
          "give the host's user a deploy key or a credential helper, or let the controller send the commits: [app] source = \"push\"" ;;
      *"Host key verification failed"*)
        fail no-access "the host does not know the host key of the repository $shown" \
          "add it to known_hosts of the user $(id -un) on the host, or use [app] source = \"push\"" ;;
      *"Operation too slow"* | *"timed out"* | *"Timeout, server"*)
        fail no-repository "the server of the repository $shown did not answer in time" \
          "see whether the host reaches it, then run the same command again" ;;
      *"No space left"*) fail no-space "no room for the repository" "make room on the disk of the host" ;;
      *) fail no-repository "cannot fetch from $shown" "check [app] repository, and that the host reaches it" ;;
    esac
  fi
}

# take_pack FILE: the commits that the controller sent.
take_pack() {
  git_ index-pack --stdin --fix-thin <"$1" >/dev/null || {
    # Half a pack must not stand in the way of the next one.
    rm -f -- "$1"
    fail damaged "the commits did not arrive whole" "run the same command again"
  }
}

# find_commit REVISION LIVE: set `commit` to what is meant by a branch, a tag or a commit, and tell of it.
# LIVE: the commit that is live now, or empty.
find_commit() {
  local revision=$1 live=$2 name near ahead behind
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
}

# find_tree SUBDIRECTORY: set `tree` to the application's files in that commit.
find_tree() {
  local subdirectory=$1
  tree=$commit
  if [ -n "$subdirectory" ]; then
    tree=$commit:$subdirectory
    [ "$(git_ cat-file -t "$tree" 2>/dev/null)" = tree ] ||
      fail no-subdirectory "the commit ${commit:0:7} has no folder $subdirectory" "check [app] subdirectory"
  fi
}
