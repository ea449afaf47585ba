# shellcheck shell=bash
# The release is good: say so in the journal, and make room.
#
#   finish.sh ROOT APP LINE STAND_BY STOP_OLD KEEP…
#
# STAND_BY: for so many seconds the old release stands by; empty where none does. STOP_OLD: see stage.sh.
# KEEP: the releases that stay; what else is whole or half is deleted, then the environments and models that no
# release points to. The record of a whole one stays for good, as records/<id>.json.

# shellcheck disable=SC2034  # app is for the functions of the strategy
root=$(readlink -f -- "$(expand "$1")") app=$2 line=$3 stand_by=$4 stop_old=$5
shift 5
declare -A keep=()
while (($#)); do
  keep[$1]=1
  shift
done

# pointed_to: prints the environments and models that releases point to, wherever in them.
pointed_to() {
  local link target kind
  find "$root/releases" -mindepth 2 -type l \( -lname '*/venvs/*' -o -lname '*/models/*' \) -print0 |
    while IFS= read -r -d '' link; do
      target=$(readlink -m -- "$link") || exit 1
      target=${target#"$root"/} kind=${target%%/*} target=${target#*/}
      printf '%s\n' "$root/$kind/${target%%/*}"
    done
}

[ -z "$line" ] || journal "$line" ||
  fail no-space "no room on the disk for the journal" "make room on the disk of the host"

[ -z "$stand_by" ] || keep_old "$stand_by"
# A rollout that was held is decided.
[ -z "$line" ] || rm -rf -- "${root:?}/rollout"

write_metrics
step "make room"
for link in "$root/current" "$root"/slots/*/release; do
  if [ -L "$link" ]; then keep[$(basename -- "$(readlink -f -- "$link")")]=1; fi
done
gone=0
# What people put beside our releases stays.
for place in "$root"/releases/[12]*T*Z-*; do
  [ -d "$place" ] || continue
  name=$(basename -- "$place")
  if [ -z "${keep[$name]-}" ]; then
    if [ -e "$place/release.json" ]; then
      # A rename needs no room, and nobody takes a release that has no record any more.
      mkdir -p -- "$root/records"
      mv -fT -- "$place/release.json" "$root/records/$name.json"
    fi
    rm -rf -- "$place"
    gone=$((gone + 1))
  fi
done
declare -A used=()
# Who does not know all of it removes nothing.
pointed=$(pointed_to)
while IFS= read -r target; do used[${target:-none}]=1; done <<<"$pointed"
# A training that goes on needs its environment, whatever releases there are.
for link in "$root"/jobs/*/work/.venv; do
  if [ -L "$link" ]; then used[$(readlink -f -- "$link")]=1; fi
done
for place in "$root"/venvs/* "$root"/models/* "$root"/models/.incoming-*; do
  if [ -d "$place" ] && [ -z "${used[$place]-}" ]; then rm -rf -- "$place"; fi
done
# What is known of where a model came from goes with it.
for known in "$root"/models/.from-*; do
  [ ! -f "$known" ] || [ -d "$root/models/$(<"$known")" ] || rm -f -- "$known"
done
emit pruned "$gone"
