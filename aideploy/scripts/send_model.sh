# shellcheck shell=bash
# Write a model to standard output as a tar, on a channel of its own.
#
#   send_model.sh ROOT MODEL
exec tar -C "$1/models/$2" --exclude=./.complete -cf - .
