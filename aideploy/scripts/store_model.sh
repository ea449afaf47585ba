# shellcheck shell=bash
# Put a model of this host into the store that other hosts fetch it from, unless it is there.
#
#   store_model.sh ROOT RELEASE PROGRAM MODEL PLACE [NAME=VALUE…]
#
# PROGRAM is origins.py and store_model.py, run by the release's own Python. PLACE: the URL of the model in the store.

root=$(expand "$1") release=$2 program=$3 model=$4 place=$5
shift 5
export_all "$@"
enter_release "$release"
step "put the model into the store"
hear python -c "$program" "$root/models/$model" "$place"
