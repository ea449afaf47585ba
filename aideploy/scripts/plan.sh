# shellcheck shell=bash
# What a deploy of a revision would bring to this host. All that it writes lies in a temporary folder,
# which is gone at its end; what is in the app's folder is read only.
#
#   plan.sh ROOT SOURCE REPOSITORY REVISION SUBDIRECTORY LIVE PYTHON MOST_COMMITS FILE…
#
# SOURCE, REPOSITORY: as fetch.sh takes them. LIVE: the commit that is live, or empty. At most MOST_COMMITS are
# listed. FILEs are those that name the dependencies.

root=$(expand "$1") source=$2 repository=$3 revision=$4 subdirectory=$5 live=$6 python=$7 most=$8
shift 8

temporary=$(mktemp -d)
trap 'rm -rf -- "$temporary"' EXIT
trap 'exit 143' TERM
repo=$temporary/repo.git

git init --quiet --bare "$repo"
# What the mirror has is borrowed: only what is new crosses the network.
[ ! -d "$root/repo.git/objects" ] || printf '%s\n' "$root/repo.git/objects" >"$repo/objects/info/alternates"
if [ "$source" = pull ]; then
  step "fetch $revision"
  fetch_from "$repository"
elif [ -n "$repository" ]; then
  step "unpack the commits"
  base64 -d <<<"$repository" >"$temporary/pack"
  take_pack "$temporary/pack"
fi
find_commit "$revision" "$live"
find_tree "$subdirectory"
tree=$(git_ rev-parse "$tree^{tree}")
emit tree "$tree"
if [ -n "$live" ] && git_ cat-file -e "$live^{commit}" 2>/dev/null; then
  git_ log --max-count="$most" --format='%h %s (%an)' "$live..$commit" | while IFS= read -r line; do emit coming "$line"; done
  git_ log --max-count="$most" --format='%h %s (%an)' "$commit..$live" | while IFS= read -r line; do emit leaving "$line"; done
fi

if (($# == 0)); then
  emit hash none
  exit 0
fi
step "look for the environment"
mkdir "$temporary/release"
git_ archive --format=tar "$tree" | tar -x -C "$temporary/release" --no-same-owner
cd -- "$temporary/release"
interpreter=$(command -v -- "$python") ||
  fail no-python "the host has no $python" "install it on the host, or set [install] python"
version=$("$interpreter" -V 2>&1)
hash=$(environment_hash "$@")
with_includes "$@" >/dev/null
emit hash "$hash"
emit interpreter "$interpreter $version"
if [ -e "$root/venvs/$hash/.complete" ]; then emit reused yes; else emit reused no; fi
cd /
