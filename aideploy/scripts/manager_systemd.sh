# shellcheck shell=bash
# systemd, the system's own: changes need root, or sudo with exactly the words of templates/sudoers.j2.
# A library, in front of units.sh.

units_folder=/etc/systemd/system

change() {
  if ((EUID == 0)); then systemctl "$@"; else sudo -n systemctl "$@"; fi
}

may_change() {
  ((EUID == 0)) || sudo -n -l systemctl "$@" >/dev/null 2>&1
}

ask() {
  systemctl "$@"
}

# Whoever may not read the journal through sudo may still be in a group that reads it.
read_log() {
  if ((EUID != 0)) && sudo -n -l journalctl "$@" >/dev/null 2>&1; then
    sudo -n journalctl "$@"
  else
    journalctl "$@"
  fi
}
