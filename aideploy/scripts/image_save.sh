# shellcheck shell=bash
# Lay an image ready for send_image.sh. Emits its size: whoever takes it has to know when it is whole.
#
#   image_save.sh ROOT APP RELEASE RUNTIME IMAGE

# shellcheck disable=SC2034  # for the library
root=$(expand "$1") app=$2 release=$3 runtime=$4 image=$5
step "save the image for the other hosts"
rm -f -- "$root/image.tar"
if ! "$runtime" save --output "$root/image.tar" "$image"; then
  rm -f -- "$root/image.tar"
  fail no-space "the image cannot be saved below $root" "make room on the disk of the host"
fi
emit size "$(stat -c %s -- "$root/image.tar")"
