# shellcheck shell=bash
# Take an image from standard input; image_look.sh asks for it afterwards.
#
#   take_image.sh RUNTIME
[ -d "${XDG_RUNTIME_DIR-}" ] || export XDG_RUNTIME_DIR=/run/user/$EUID
exec "$1" load >/dev/null
