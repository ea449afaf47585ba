#!/usr/bin/env bash
# One file from one host to others through this machine, with nothing but ssh and tee.
#
#   raw_distribute.sh SSH_CONFIG FILE TARGET_FILE TRAIN SERVE…
set -euo pipefail
config=$1 file=$2 target=$3 train=$4
shift 4
folder=$(mktemp -d)
trap 'rm -rf -- "$folder"' EXIT
pids=()
pipes=()
for host in "$@"; do
  mkfifo -- "$folder/$host"
  ssh -F "$config" "$host" "cat > '$target'" <"$folder/$host" &
  pids+=($!)
  pipes+=("$folder/$host")
done
ssh -F "$config" "$train" "cat '$file'" | tee "${pipes[@]}" >/dev/null
for pid in "${pids[@]}"; do wait "$pid"; done
