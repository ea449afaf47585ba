# shellcheck shell=bash
# Train the release's model and keep it under the hash of its content.
#
#   train.sh ROOT RELEASE COMMAND OUTPUTS METRICS REVISION [NAME=VALUE…]

root=$(expand "$1") release=$2 command=$3 outputs=$4 metrics=$5 REVISION=$6
shift 6
export REVISION
export_all "$@"
enter_release "$release"
step "train"
# A model that came with the commit is not the result of this training.
rm -rf -- "$outputs" "$metrics"
status=0
bash -c "$command" || status=$?
((status == 0)) || fail training-failed "the training failed (exit status $status)" "the lines above say why; nothing was changed"

step "keep the model"
[ -e "$outputs" ] || fail no-model "the training ended well but wrote no $outputs" "check [train] outputs against what the command writes"
new=$root/models/.new
rm -rf -- "$new"
mkdir -p -- "$new"
if [ -d "$outputs" ]; then
  cp -a -- "$outputs/." "$new/"
else
  cp -a -- "$outputs" "$new/"
  basename -- "$outputs" >"$new/.file"
fi
# Only plain files are the same on every host.
odd=$(find "$new" ! -type f ! -type d -print -quit)
[ -z "$odd" ] || fail no-model "the model holds something that is no plain file: ${odd#"$new/"}" "let the training write plain files"
[ -n "$(find "$new" -type f ! -name .file -size +0 -print -quit)" ] || fail no-model "the model in $outputs is empty" "check [train] outputs against what the command writes"
model=$(model_id "$new")
if [ -e "$root/models/$model/.complete" ]; then
  rm -rf -- "$new"
else
  rm -rf -- "${root:?}/models/$model"
  chmod -R u+rwX,go+rX,go-w -- "$new"
  sync -f "$new" 2>/dev/null || sync
  mv -T -- "$new" "$root/models/$model"
  : >"$root/models/$model/.complete"
fi
link_model "$release" "$model" "$outputs"
emit model "$model"
emit bytes "$(du -sb -- "$root/models/$model" | cut -f 1)"
if [ -f "$metrics" ]; then emit_file metrics <"$metrics"; fi
