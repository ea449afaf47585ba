# shellcheck shell=bash
# Say what a model of this host is made of; hand it over at once when it is small enough to travel on the session.
#
#   read_model.sh ROOT MODEL PYTHON PROGRAM MOST_BYTES
#
# PROGRAM is models.py. Emits `archive` (a compressed tar) or, of a larger model, `contents` and `bytes`.

root=$(expand "$1") model=$2 python=$3 program=$4 most=$5
place=$root/models/$model
size=$(du -sb -- "$place" | cut -f 1)
if ((size <= most)); then
  tar -C "$place" --exclude=./.complete -czf - . | emit_file archive
else
  step "read the model"
  emit bytes "$size"
  "$python" -I -c "$program" contents "$place" | emit_file contents
fi
