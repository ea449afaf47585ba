# shellcheck shell=bash
# Install packages of the system. A library beside files.sh and ports.sh.
#
# What was on the host stays as it is: nothing is removed, configuration files that are there are kept, no other service is
# restarted. An apt of somebody else that is at work is waited for, as the updates of a host that has just started.

# For how many seconds.
apt_patience=120

# package_manager: prints the program that installs packages here, or nothing.
package_manager() {
  command -v apt-get || command -v dnf || command -v yum || true
}

# install_package NAME: with that program. Where it cannot, `why` says why.
install_package() {
  local manager
  manager=$(package_manager) why=''
  step "installing $1"
  if [ "${manager##*/}" != apt-get ]; then
    package_command "$manager" -y install "$1" && return
    why=$(tail -n 3 <<<"$package_said")
    return 1
  fi
  apt_get install "$1" && return
  # What it knows of its repositories may be old, or it knows nothing yet.
  if [[ $package_said == *@('Unable to locate package'|'no installation candidate'|'Failed to fetch'|'Unable to fetch'|'unmet dependencies')* ]]; then
    step "asking the repositories of the host what they have"
    apt_get update || true
    why=$(complaints)
    step "installing $1"
    apt_get install "$1" && return
  fi
  why=$(printf '%s\n' "$(complaints)" "$why" | awk 'NF && !seen[$0]++ { printf "%s%s", between, $0; between = "; " }')
  why=${why:-$(tail -n 3 <<<"$package_said")}
  return 1
}

# complaints: prints what apt-get said that it could not do.
complaints() {
  sed -nE 's/^([EW]: |(dpkg: error.*)| +(.* : (Pre)?Depends: .*))/\2\3/p' <<<"$package_said" | grep -v '^Some index files' | head -n 4 || true
}

# apt_get COMMAND [PACKAGE…]: without a question. `package_said` is what it said.
apt_get() {
  local end=$((SECONDS + apt_patience)) waits=''
  until package_command "$(command -v apt-get)" -y -q -o Dpkg::Use-Pty=0 --no-remove --no-install-recommends \
    -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold "$@"; do
    if [[ $package_said != *@('Could not get lock'|'Unable to acquire the dpkg'|'Unable to lock')* ]] || ((SECONDS >= end)); then
      return 1
    fi
    [ -n "$waits" ] || step "waiting for another apt or dpkg of this host to end"
    waits=yes
    sleep 1
  done
}

# package_command COMMAND…: as root, in a session of its own, and not into a pipe of ours: half an installation is worse than a
# whole one, so it ends in order when we are ended in the middle of it, or the sudo before it is (-f). The next one waits for
# its lock.
package_command() {
  local status=0 log to from
  log=$(mktemp)
  exec {to}>"$log"
  exec {from}<"$log"
  rm -f -- "$log"
  # needrestart would restart the services of others.
  as_root env LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 setsid -f -w "$@" \
    >&"$to" 2>&1 </dev/null {from}<&- {to}>&- 8>&- || status=$?
  package_said=$(cat <&"$from")
  exec {to}>&- {from}<&-
  printf '%s\n' "$package_said"
  return "$status"
}
