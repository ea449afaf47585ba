# shellcheck shell=bash
# Put a model on this host, verified, unless it is there.
#
#   write_model.sh ROOT MODEL ARCHIVE
#
# ARCHIVE: a compressed tar as base64; empty when a folder models/.incoming-MODEL was filled over another channel.

root=$(expand "$1") model=$2 archive=$3
target=$root/models/$model
incoming=$root/models/.incoming-$model
if [ -e "$target/.complete" ]; then
  rm -rf -- "$incoming"
  exit 0
fi
step "write the model"
if [ -n "$archive" ]; then
  rm -rf -- "$incoming"
  mkdir -p -- "$incoming"
  base64 -d <<<"$archive" | tar -xzf - -C "$incoming" --no-same-owner ||
    fail no-space "cannot write the model" "make room on the disk of the host"
fi
step "verify the model"
found=$(model_id "$incoming")
if [ "$found" != "$model" ]; then
  rm -rf -- "$incoming"
  fail damaged "the model arrived damaged: its checksum is $found, not $model" "run the same command again"
fi
chmod -R u+rwX,go+rX,go-w -- "$incoming"
sync -f "$incoming" 2>/dev/null || sync
rm -rf -- "$target"
mv -T -- "$incoming" "$target"
: >"$target/.complete"
