# shellcheck shell=bash
# End here where this host was set up to serve otherwise than hosts.toml has it. Changes nothing.
#
#   require_setup.sh ROOT APP ADDRESS
#
# ADDRESS: where the service is asked when it is live.

# shellcheck disable=SC2034  # they are for the functions of the service manager and the strategy
root=$(expand "$1") app=$2

step "see how it was set up"
require_setup
require_address "$3"
