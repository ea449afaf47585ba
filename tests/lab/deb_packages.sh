#!/usr/bin/env bash
# Fetch Debian packages and all that they need beyond the base tree. Called by deb_repository.py, in a mount namespace of
# its own, with which all mounts end.
#   deb_packages.sh BASE FOLDER ABSENT PACKAGE...
# ABSENT: packages of the base tree, in one word each, that a host shall not have before.
set -euo pipefail

base=$1 folder=$2 absent=$3
shift 3

mkdir -p "$folder/pool" "$folder/files" "$folder/work" "$folder/tree"
mount -t overlay -o "lowerdir=$base,upperdir=$folder/files,workdir=$folder/work" overlay "$folder/tree"
mount -t proc proc "$folder/tree/proc"

tree=$folder/tree
cat /etc/resolv.conf >"$tree/etc/resolv.conf"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086  # one word each
chroot "$tree" dpkg --purge $absent
chroot "$tree" apt-get update --quiet
chroot "$tree" apt-get install --quiet --yes --no-install-recommends --download-only "$@"
cp "$tree"/var/cache/apt/archives/*.deb "$folder/pool"
umount "$tree/proc" "$tree"
rm -rf "$folder/files" "$folder/work" "$folder/tree"

cd "$folder"
for package in pool/*.deb; do
    dpkg-deb --field "$package"
    read -r sum _ < <(sha256sum "$package")
    printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' "$package" "$(stat -c %s "$package")" "$sum"
done >Packages
