#!/usr/bin/env bash
# Install Debian packages over the base tree and keep only what they added. Called by layer.py, in a mount
# namespace of its own, with which all mounts end.
#   layer.sh BASE LAYER PACKAGE...
set -euo pipefail

base=$1 layer=$2
shift 2

mkdir -p "$layer/files" "$layer/work" "$layer/tree"
mount -t overlay -o "lowerdir=$base,upperdir=$layer/files,workdir=$layer/work" overlay "$layer/tree"
mount -t proc proc "$layer/tree/proc"

tree=$layer/tree
# The services that come with the packages start on a host, not here.
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
chmod 0755 "$tree/usr/sbin/policy-rc.d"
cat /etc/resolv.conf >"$tree/etc/resolv.conf"

export DEBIAN_FRONTEND=noninteractive
chroot "$tree" apt-get update --quiet
chroot "$tree" apt-get install --quiet --yes --no-install-recommends "$@"
chroot "$tree" apt-get clean

rm -rf "$tree/usr/sbin/policy-rc.d" "$tree/var/lib/apt/lists"
: >"$tree/etc/resolv.conf"
umount "$tree/proc" "$tree"
# A test starts what it needs of them: a host boots as the base does.
find "$layer/files" -path "*/etc/systemd/*.wants/*" -type l -delete
rm -rf "$layer/work" "$layer/tree"
