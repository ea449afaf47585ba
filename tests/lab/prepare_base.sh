#!/usr/bin/env bash
# What every host of a lab has beyond its Debian packages. Called once by base.py.
#   prepare_base.sh TREE
set -euo pipefail

tree=$1

for user in deploy stranger; do
    chroot "$tree" useradd --create-home --shell /bin/bash "$user"
    install -d -m 0700 "$tree/home/$user/.ssh"
    chroot "$tree" chown "$user:$user" "/home/$user/.ssh"
done
install -d -m 0700 "$tree/root/.ssh"

# Each host gets a key and an identity of its own.
rm -f "$tree"/etc/ssh/ssh_host_*
: >"$tree/etc/machine-id"
rm -f "$tree/var/lib/dbus/machine-id"

cat >"$tree/etc/ssh/sshd_config.d/lab.conf" <<'SSHD'
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin prohibit-password
UseDNS no
SSHD

# Repositories are bound in from outside and belong to somebody else.
cat >"$tree/etc/gitconfig" <<'GIT'
[safe]
	directory = *
GIT

# No name server: a name that is not in /etc/hosts fails at once instead of waiting.
rm -f "$tree/etc/resolv.conf"
: >"$tree/etc/resolv.conf"

units=$tree/etc/systemd/system
# Fails now and then while ten hosts boot at once, which makes a whole host "degraded".
ln -s /dev/null "$units/systemd-update-utmp-runlevel.service"
# Nobody sits at the console, and no package is ever updated.
ln -s /dev/null "$units/console-getty.service"
ln -s /dev/null "$units/apt-daily.timer"
ln -s /dev/null "$units/apt-daily-upgrade.timer"
# Installed, but not running before somebody wants them.
chroot "$tree" systemctl disable --quiet haproxy.service prometheus-node-exporter.service

rm -rf "$tree"/var/cache/apt/archives/*.deb
