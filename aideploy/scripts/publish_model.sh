# shellcheck shell=bash
# A model has arrived over a channel of its own, and each of its files was verified there: put it in its place.
#
#   publish_model.sh ROOT MODEL

root=$(expand "$1") model=$2
incoming=$root/models/.incoming-$model
[ -e "$incoming/.arrived" ] || fail damaged "the model did not arrive whole" "run the same command again"
step "put the model in its place"
publish_model "$incoming" "$model"
emit whole "verified"
