# shellcheck shell=bash
# Whether this host could run the service's container. Changes nothing. Emits `no-container` for each thing that is in the
# way, and what to do about it behind a tab.
#
#   image_check.sh RUNTIME GPUS

runtime=$1 gpus=$2

missing() {
  emit no-container "$1"$'\t'"$2"
}

step "look for $runtime"
if ! type -P "$runtime" >/dev/null; then
  missing "there is no $runtime" "install it on the host: apt-get install ${runtime/docker/docker.io}, or the like"
  exit 0
fi
if [ "$runtime" = podman ] && ((EUID != 0)); then
  type -P newuidmap >/dev/null || missing "podman needs newuidmap to run without root" "install it on the host: apt-get install uidmap, or the like"
  { grep -qs "^$(id -un):" /etc/subuid && grep -qs "^$(id -un):" /etc/subgid; } ||
    missing "$(id -un) has no ids for its containers" "as root on that host: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un)"
fi
if ! answer=$(timeout 30 "$runtime" info 2>&1 >/dev/null </dev/null); then
  missing "$runtime does not work for $(id -un): $(said "$answer")" "see what $runtime info says on that host"
fi
if ((gpus > 0)); then
  if [ "$runtime" = podman ]; then
    compgen -G '/etc/cdi/nvidia*' >/dev/null || compgen -G '/var/run/cdi/nvidia*' >/dev/null ||
      missing "podman is not told of the GPUs" "as root on that host: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
  elif ! type -P nvidia-container-runtime >/dev/null; then
    missing "docker cannot give GPUs to a container" "install nvidia-container-toolkit on that host"
  fi
fi
