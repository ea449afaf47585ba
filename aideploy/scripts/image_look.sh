# shellcheck shell=bash
# Whether this host has an image; then it is kept as long as the release.
#
#   image_look.sh ROOT APP RELEASE RUNTIME IMAGE

# shellcheck disable=SC2034  # for the library
root=$(expand "$1") app=$2 release=$3 runtime=$4 image=$5
require_runtime
if is_image "$image"; then keep_image "$image" "$release"; fi
