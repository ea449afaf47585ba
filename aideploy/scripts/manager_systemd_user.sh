# shellcheck shell=bash
# systemd, the deploy user's own (systemctl --user): no rights needed. A library, in front of units.sh.

units_folder=$HOME/.config/systemd/user

# A command sent over SSH is no login session: it may not be told where its user's systemd is.
export XDG_RUNTIME_DIR=/run/user/$EUID

change() {
  [ -S "$XDG_RUNTIME_DIR/systemd/private" ] ||
    fail not-set-up "systemd does not run for the user $(id -un)" "fab setup"
  systemctl --user "$@"
}

may_change() {
  true
}

ask() {
  systemctl --user "$@"
}

read_log() {
  journalctl --user "$@"
}
