# shellcheck shell=bash
# Make the release whole on this host and prove it beside what is live: start it in the staged slot, ask
# it whether it is well, stop it.
#
#   stage.sh ROOT APP RELEASE MODEL OUTPUTS ENVIRONMENT SERVE RELEASE_JSON JOURNAL PROVE PYTHON PROBE REQUEST \
#            GOLDEN GOLDEN_REQUEST GOLDEN_FILE [LINKED…]
#
# MODEL and OUTPUTS are empty when nothing is trained. ENVIRONMENT and SERVE are the contents of the files of that
# name. PROVE is "yes", or "no" where the host has no room for two. GOLDEN: golden.py, or empty where there are no
# golden requests; GOLDEN_FILE lies in the release. LINKED: names below shared/.

# shellcheck disable=SC2034  # app and slot are for the service manager's functions
root=$(expand "$1") app=$2 release=$3 model=$4 outputs=$5 environment=$6 serve=$7 release_json=$8 line=$9
prove=${10} python=${11} probe=${12} request=${13}
golden=${14} golden_request=${15} golden_file=${16}
shift 16
place=$root/releases/$release

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

if [ "$prove" = yes ]; then
  mkdir -p -- "$root/slots/staged"
  replace_link "../../releases/$release" "$root/slots/staged/release"
  step "prove the release beside what is live"
  # A staged service that a dead deploy left is not ours to ask.
  [ "$(service_state staged)" = inactive ] || service_stop staged
  # However this ends, nobody is left to ask it anything; what a SIGKILL leaves, the next deploy stops.
  trap 'service_stop staged' EXIT
  next="correct it, push, and deploy again; it never got a request"
  prove staged "$python" "$probe" "$request" "the new release is not healthy: " start
  golden staged "$python" "$golden" "$golden_request" "$place/$golden_file" "the new release is not ready: "
  trap - EXIT
  service_stop staged
  rm -f -- "$root/slots/staged/release"
  emit health "$health"
fi

require_due

# Written last: a release with this file is whole and does not change any more.
printf '%s' "$release_json" | replace_file "$place/release.json" 644
journal "$line" || fail no-space "no room on the disk for the journal" "make room on the disk of the host"
