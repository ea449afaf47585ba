# shellcheck shell=bash
# Build the image of the release from its own code, and keep it as long as the release.
#
#   image_build.sh ROOT APP RELEASE RUNTIME DOCKERFILE
#
# Emits `image`, which names its content.

# shellcheck disable=SC2034  # for the library
root=$(expand "$1") app=$2 release=$3 runtime=$4 dockerfile=$5
require_runtime
cd -- "$root/releases/$release"
[ -f "$dockerfile" ] || fail no-dockerfile "the release has no file $dockerfile" "check [serve] dockerfile"

step "build the image"
iid=$(mktemp)
trap 'rm -f -- "$iid"' EXIT
"$runtime" build --iidfile "$iid" --file "$dockerfile" . </dev/null ||
  fail not-built "the image cannot be built" "the lines above say why; nothing was changed"
keep_image "$(image_id "$(cat -- "$iid")")" "$release"
