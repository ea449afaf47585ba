# shellcheck shell=bash
# Put the model card into a release that is not whole yet.
#
#   write_card.sh ROOT RELEASE CARD

place=$(expand "$1")/releases/$2/.aideploy card=$3

mkdir -p -- "$place"
printf '%s' "$card" | replace_file "$place/model_card.md" 644
