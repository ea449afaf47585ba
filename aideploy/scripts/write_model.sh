# shellcheck shell=bash
# Put a model on this host, verified, or make ready to receive it. One that is there is verified too.
#
#   write_model.sh ROOT MODEL PYTHON PROGRAM ARCHIVE CONTENTS
#
# ARCHIVE: a compressed tar as base64. CONTENTS: what the model holds, when its files come over another channel.
# PROGRAM is models.py. Emits `whole`; or `damaged` when nothing was given to replace a damaged one with; or `have`:
# how many bytes of it are there already.

root=$(expand "$1") model=$2 python=$3 program=$4 archive=$5 contents=$6
target=$root/models/$model
incoming=$root/models/.incoming-$model
if [ -e "$target/.complete" ]; then
  step "verify the model that is there"
  found=$(model_id "$target")
  if [ "$found" = "$model" ]; then
    rm -rf -- "$incoming"
    emit whole "there already, verified"
    exit 0
  elif [ -z "$archive$contents" ]; then
    emit damaged "its checksum was $found, not $model"
    exit 0
  fi
fi

mkdir -p -- "$incoming"
if [ -n "$archive" ]; then
  step "write the model"
  rm -rf -- "$incoming"
  mkdir -p -- "$incoming"
  base64 -d <<<"$archive" | tar -xzf - -C "$incoming" --no-same-owner ||
    fail no-space "cannot write the model" "make room on the disk of the host"
  step "verify the model"
  found=$(model_id "$incoming")
  if [ "$found" != "$model" ]; then
    rm -rf -- "$incoming"
    fail damaged "the model arrived damaged: its checksum is $found, not $model" "run the same command again"
  fi
  publish_model "$incoming" "$model"
  emit whole "verified"
  exit 0
fi

# What an earlier deploy received of it is still good.
rm -f -- "$incoming/.arrived"
printf '%s' "$contents" | replace_file "$incoming/.contents" 644
counts=$("$python" -I -c "$program" resume "$incoming" "$model") ||
  fail damaged "what the train host says of the model makes no sense" "the lines above say why; run the same command again"
read -r have all <<<"$counts"
require_room "$root/models" "$((all - have))"
emit have "$have"
emit bytes "$all"
