#!/usr/bin/env bash
# Try what a lab needs from the kernel, in namespaces that end with this script. Called by needs.py.
#   probe.sh FOLDER     an empty folder on the disk where the hosts would be
# Ends with 0, or says on one line what was refused.
set -euo pipefail

folder=$1

refused() {
    echo "$1"
    exit 1
}

# Everything below runs inside: started again by itself with the namespaces made.
if [[ ${2:-} != inside ]]; then
    unshare --mount --net --pid --fork true 2>/dev/null || refused "the kernel refuses namespaces"
    exec unshare --mount --net --pid --fork --kill-child bash "$0" "$folder" inside
fi

mkdir "$folder"/{lower,upper,work,root}
mount -t overlay overlay \
    -o "lowerdir=$folder/lower,upperdir=$folder/upper,workdir=$folder/work" "$folder/root" \
    2>/dev/null || refused "the kernel refuses an overlay mount in $folder"
mount -t tmpfs lab "$folder/root" 2>/dev/null || refused "the kernel refuses a tmpfs mount"
ip link add bridge0 type bridge 2>/dev/null || refused "the kernel refuses a network bridge"
ip link add outside type veth peer name inside 2>/dev/null ||
    refused "the kernel refuses a pair of virtual network cables (veth)"
ip tuntap add tap0 mode tap 2>/dev/null || refused "the kernel refuses a network tap (/dev/net/tun)"
iptables --wait --append INPUT --jump DROP 2>/dev/null || refused "the kernel refuses iptables"
