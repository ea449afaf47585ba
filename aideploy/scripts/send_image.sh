# shellcheck shell=bash
# Write the image that image_save.sh laid ready to standard output, on a channel of its own, and remove it.
#
#   send_image.sh ROOT
trap 'rm -f -- "$1/image.tar"' EXIT
cat -- "$1/image.tar"
