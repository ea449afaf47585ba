# shellcheck shell=bash
# Stop what is not live; a job that the host runs by itself (due.sh).
#
#   stop_old.sh ROOT APP PYTHON STOP_SECONDS

# shellcheck disable=SC2034  # for the functions of the service manager and the strategy
root=$(expand "$1") app=$2 python=$3 stop_seconds=$4
stop_old
