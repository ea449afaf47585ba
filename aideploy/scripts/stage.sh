# shellcheck shell=bash
# Make the release whole on this host and prove it beside what is live: start it in a slot of its own and ask it
# whether it is well.
#
#   stage.sh ROOT APP RELEASE MODEL OUTPUTS ENVIRONMENT SERVE RELEASE_JSON JOURNAL PROVE PYTHON PROBE SLOT_REQUEST \
#            GOLDEN GOLDEN_REQUEST GOLDEN_FILE STOP_SECONDS STOP_OLD ADDRESS [LINKED…]
#
# MODEL and OUTPUTS are empty when nothing is trained. ENVIRONMENT and SERVE are the contents of the files of that
# name. PROVE is "yes", or "no" where the host has no room for two. SLOT_REQUEST is for probe.py, about any slot.
# GOLDEN: golden.py, or empty where there are no golden requests; GOLDEN_FILE lies in the release. STOP_SECONDS: how long what
# is under way may take to end. STOP_OLD: the script that stops what is not live, left for when we are gone. ADDRESS: where
# it is asked when it is live. LINKED: names below shared/.

# shellcheck disable=SC2034  # these are for the functions of the service manager and the strategy
root=$(expand "$1") app=$2 release=$3 model=$4 outputs=$5 environment=$6 serve=$7 release_json=$8 line=$9
prove=${10} python=${11} probe=${12} slot_request=${13}
golden=${14} golden_request=${15} golden_file=${16} stop_seconds=${17} stop_old=${18} address=${19}
shift 19
place=$root/releases/$release

require_address "$address"
step "complete the release"
[ -z "$model" ] || link_model "$release" "$model" "$outputs"
for name in "$@"; do
  shared=$root/shared/${name%/}
  if [[ $name == */ ]]; then
    mkdir -p -- "$shared"
  elif [ ! -e "$shared" ]; then
    fail no-linked-file "the linked file $shared is not on the host" "put it there; it is in [serve] linked"
  fi
  mkdir -p -- "$(dirname -- "$place/$name")"
  rm -rf -- "${place:?}/${name%/}"
  ln -s -- "$shared" "$place/${name%/}"
done
mkdir -p -- "$place/.aideploy"
printf '%s' "$environment" | replace_file "$place/.aideploy/env" 640
printf '%s' "$serve" | replace_file "$place/.aideploy/serve" 755
write_manifest "$release"

if [ "$prove" = yes ]; then
  step "prove the release beside what is live"
  next="correct it, push, and deploy again; it never got a request"
  prove_beside "$release"
  emit health "$health"
fi

require_due

# json_text TEXT: as JSON has it; what is no plain letter becomes a question mark.
json_text() {
  local LC_ALL=C text=$1
  text=${text//\\/\\\\}
  text=${text//\"/\\\"}
  printf '"%s"' "${text//[^ -~]/?}"
}
# How it proved itself is known only now. Nothing else in the record begins a line like this.
unknown=$'\n  "proof": null'
if [ "$prove" = yes ]; then
  known="${unknown% *} $(json_text "$health")"
  release_json=${release_json/"$unknown"/"$known"}
fi

# Written last: a release with this file is whole and does not change any more.
printf '%s' "$release_json" | replace_file "$place/release.json" 644
journal "$line" || fail no-space "no room on the disk for the journal" "make room on the disk of the host"
