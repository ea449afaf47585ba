# shellcheck shell=bash
# Leave a request for the controller of the rollout that is under way, and wait until it is heard.
#
#   rollout_request.sh ROOT REQUEST SECONDS

root=$(expand "$1") request=$2 seconds=$3
file=$root/rollout/request

[ -w "$root/rollout" ] ||
  fail no-access "$(id -un) may not write to $root/rollout" "log in as the user that deploys"
printf '%s\n' "$request" | replace_file "$file" 644
step "wait until it is heard"
heard=no
for ((tries = 0; tries < seconds * 5; tries++)); do
  [ -e "$file" ] || { heard=yes; break; }
  sleep 0.2
done
emit heard "$heard"
