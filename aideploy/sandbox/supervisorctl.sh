#!/bin/bash
# supervisorctl of one sandbox host: ~/bin/supervisorctl. The first call starts the host's
# supervisord, so that a sandbox of many hosts costs nothing until a service is wanted.
set -euo pipefail

home=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
python=$(<"$home/supervisor/python")
config=$home/supervisor/supervisord.conf

# Two locks. `starting` lets one caller at a time look and start; supervisord forks itself away
# only after its socket listens, so the next caller finds it ready. `running` is inherited by
# supervisord as descriptor 3 and lives exactly as long as it does: supervisord closes what it
# inherits from 5 upwards, and gives its programs nothing above 2.
(
    flock 4
    if flock --nonblock 3; then
        # The environment of whoever comes first must not become that of every service.
        env -i HOME="$home" PATH="$PATH" USER="$USER" LOGNAME="$USER" SHELL="$SHELL" \
            AIDEPLOY_SANDBOX="$AIDEPLOY_SANDBOX" AIDEPLOY_SANDBOX_HOST="$AIDEPLOY_SANDBOX_HOST" \
            "$python" -m supervisor.supervisord -c "$config" 4>&-
    fi
) 3>>"$home/supervisor/running" 4>>"$home/supervisor/starting" </dev/null >&2

exec "$python" -m supervisor.supervisorctl -c "$config" "$@"
