# shellcheck shell=bash
# Run a program that takes or gives a stream of data, on a channel of its own: no prelude, no marks.
#
#   stream.sh PROGRAM [ARGUMENT…]
umask 022
exec "$@"
