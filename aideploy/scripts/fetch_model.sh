# shellcheck shell=bash
# Fetch a model that was made elsewhere and keep it under the hash of its content, unless it is there.
#
#   fetch_model.sh ROOT RELEASE PROGRAM REQUEST KEY EXPECTED METRICS [NAME=VALUE…]
#
# PROGRAM is origins.py and fetch_model.py, run by the release's own Python; REQUEST is what they are asked for. KEY
# names the source, so that what came from it once is known again. EXPECTED: the name that the model has to have, where
# it is known. METRICS: a file of the model with its metrics; "fetched" where the program fetches them.

root=$(expand "$1") release=$2 program=$3 request=$4 key=$5 expected=$6 metrics=$7
shift 7
export_all "$@"
enter_release "$release"
known=$root/models/.from-$key
incoming=$root/models/.incoming-$key
fetch() { hear python -c "$program" "$incoming" "$@" <<<"$request"; }

# is_whole MODEL: whether it is here, each byte of it.
is_whole() {
  local found
  [ -e "$root/models/$1/.complete" ] || return 1
  step "verify the model that is there"
  found=$(model_id "$root/models/$1")
  [ "$found" = "$1" ] && return
  emit notice "the model here is damaged and is replaced: its checksum was $found, not $1"
  return 1
}

model=$expected
[ -n "$model" ] || [ ! -f "$known" ] || model=$(<"$known")
mkdir -p -- "$incoming"
if [ -n "$model" ] && is_whole "$model"; then
  [ "$metrics" != fetched ] || fetch metrics
else
  fetch
  [ -n "$(find "$incoming/model" -type f ! -name .file -size +0 -print -quit)" ] ||
    fail model-refused "the model that came is empty" "correct [model] source; nothing was changed"
  model=$(model_id "$incoming/model")
  if [ -n "$expected" ] && [ "$model" != "$expected" ]; then
    rm -rf -- "$incoming"
    fail model-refused "the model that came is $model, not $expected" "see who changed it at its source; nothing was changed"
  fi
  is_whole "$model" || publish_model "$incoming/model" "$model"
  printf '%s' "$model" | replace_file "$known" 644
fi
place=$root/models/$model
emit model "$model"
emit bytes "$(du -sb -- "$place" | cut -f 1)"
case $metrics in
  '') ;;
  fetched) emit_file metrics <"$incoming/metrics" ;;
  *)
    [ -f "$place/$metrics" ] || fail model-refused "the model holds no $metrics" "correct [model] metrics; nothing was changed"
    emit_file metrics <"$place/$metrics"
    ;;
esac
rm -rf -- "$incoming"
