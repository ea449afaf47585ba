#!/usr/bin/env bash
# Install the Debian packages that all tests together need. For root on Debian; called by .ci/run.
# Services that come with the packages are not started: they are needed as programs only.
set -euo pipefail

packages=(
    # The project itself.
    git make python3 python3-venv
    # The hosts of the fleet tests.
    systemd-container debootstrap openssh-client iproute2 iptables util-linux
    # The programs that judge rendered configuration files, and a real sshd.
    haproxy openssh-server prometheus sudo
    # The browser that looks at reports, and letters for it.
    chromium fonts-dejavu-core
    # What the metrics of a host and alerts go to, and what the dashboards show, from the programs that really tell it.
    prometheus-alertmanager prometheus-node-exporter prometheus-blackbox-exporter
)

policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 0755 "$policy"
fi

export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet
apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
