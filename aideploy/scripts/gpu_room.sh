# shellcheck shell=bash
# How much memory of each GPU the slots of the service have, and how much is free; see gpu.py.
#
#   gpu_room.sh ROOT APP PYTHON PROGRAM

root=$(expand "$1") app=$2 python=$3 program=$4
step "ask the GPUs"
"$python" -I -c "$program" room "$root" "$app" | while IFS= read -r line; do
  [ -z "$line" ] || emit gpu "$line"
done
