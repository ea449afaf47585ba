# shellcheck shell=bash
# Remove the images of releases that are gone.
#
#   image_prune.sh ROOT APP RUNTIME

# shellcheck disable=SC2034  # for the library
root=$(expand "$1") app=$2 runtime=$3
own=localhost/aideploy-$app
declare -A kept=()
for release in "$root"/releases/*; do
  release=${release##*/}
  kept[$release]=1
done

# What a deploy that died left on its way to other hosts.
rm -f -- "$root/image.tar"
names=$("$runtime" images --format '{{.Repository}}:{{.Tag}}' "$own" 2>/dev/null || true)
while IFS= read -r name; do
  # What else matches is not ours, such as <none>.
  [[ $name == "$own":[12]* ]] && [ -z "${kept[${name##*:}]-}" ] || continue
  id=$(image_id "$name")
  "$runtime" rmi "$name" >/dev/null 2>&1 || continue
  # Another release, or somebody else, may go on with it: then it has other names, and this is refused.
  if is_image "$id"; then "$runtime" rmi "$id" >/dev/null 2>&1 || true; fi
done <<<"$names"
