# shellcheck shell=bash
# Take a model from standard input as a tar; write_model.sh verifies it and puts it in its place.
#
#   take_model.sh ROOT MODEL
set -e
incoming=$1/models/.incoming-$2
rm -rf -- "$incoming"
mkdir -p -- "$incoming"
exec tar -C "$incoming" -xf - --no-same-owner
