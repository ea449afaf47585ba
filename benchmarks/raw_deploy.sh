#!/usr/bin/env bash
# One deploy on one host as an experienced person writes it for `ssh`: the same steps, on the same
# folders, with the same installer as aideploy. Called by openssh.py, once for each host.
#
#   raw_deploy.sh ROOT APP REPOSITORY REVISION RELEASE TOOL WHEELS MODEL PORT ENVIRONMENT SERVE
#
# MODEL: "make" it and write it to standard output for the other hosts, "take" it from standard
# input, or "keep" to make one on every host. What people read goes to standard error.
set -euo pipefail

root=$1 app=$2 repository=$3 revision=$4 release=$5 tool=$6 wheels=$7 model=$8 port=$9
environment=${10} serve=${11}
repo=$root/repo.git
place=$root/releases/$release
exec 8>&1 1>&2

exec 9>>"$root/lock"
flock -n 9

# fetch
[ -f "$repo/HEAD" ] || git init --quiet --bare "$repo"
git --git-dir="$repo" fetch --quiet --prune "$repository" '+refs/heads/*:refs/heads/*'
git --git-dir="$repo" rev-parse --verify --quiet "$revision^{commit}"
mkdir -p "$place"
git --git-dir="$repo" archive "$revision" | tar -x -C "$place"

# install
cd "$place"
hash=$({ python3 -V; uname -m; cat requirements.txt; } | sha256sum | cut -c 1-16)
venv=$root/venvs/$hash
if [ ! -e "$venv/.complete" ]; then
  if [ "$tool" = uv ]; then
    uv venv --quiet --python python3 "$venv"
    uv pip install --quiet --compile-bytecode --no-index --find-links "$wheels" \
      --python "$venv/bin/python" -r requirements.txt
  else
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
      --no-index --find-links "$wheels" -r requirements.txt
  fi
  : >"$venv/.complete"
fi
ln -s "$venv" .venv
export PATH=$place/.venv/bin:$PATH REVISION=$revision

model_id() {
  (cd "$1" && find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1)
}

# test and train, or take the model of the host that did
if [ "$model" = take ]; then
  read -r id _
  new=$root/models/.incoming-$id
  mkdir -p "$new"
  tar -x -C "$new"
  [ "$(model_id "$new")" = "$id" ]
else
  python -m unittest
  python train.py
  id=$(model_id model)
  new=$root/models/.new
  rm -rf "$new"
  cp -a model "$new"
  if [ "$model" = make ]; then
    # Its size goes before it: the others need not wait for the end of this script.
    tar -c -f "$root/model.tar" -C model .
    printf '%s %s\n' "$id" "$(stat -c %s "$root/model.tar")" >&8
    cat "$root/model.tar" >&8
  fi
fi
rm -rf model "$root/models/$id"
mv -T "$new" "$root/models/$id"
ln -s "$root/models/$id" model

# stage: prove it beside what is live
mkdir -p .aideploy
(umask 027 && printf '%sMODEL_DIR=%s\n' "$environment" "$root/models/$id" >.aideploy/env)
printf '%s' "$serve" >.aideploy/serve
chmod 755 .aideploy/serve
printf '{"id": "%s", "revision": "%s", "model": "%s"}\n' "$release" "$revision" "$id" >release.json
ln -sfn "../../releases/$release" "$root/slots/staged/release"

# journal VERDICT
journal() {
  printf '{"at": "%s", "verdict": "%s", "release": "%s", "revision": "%s"}\n' \
    "$(date -u +%FT%TZ)" "$1" "$release" "$revision" >>"$root/journal.jsonl"
  sync "$root/journal.jsonl"
}

# healthy PORT
healthy() {
  local tries
  for ((tries = 0; tries < 600; tries++)); do
    if curl --silent --fail --max-time 5 "http://127.0.0.1:$1/healthz" | grep --quiet "$revision"; then
      return
    fi
    sleep 0.05
  done
  return 1
}

sudo -n systemctl start "$app@staged.service"
healthy $((port + 10000))
sudo -n systemctl stop "$app@staged.service"
rm "$root/slots/staged/release"
journal prepared

# switch
ln -sfn "releases/$release" "$root/current.new"
mv -fT "$root/current.new" "$root/current"
journal live
sudo -n systemctl restart "$app@live.service"
healthy "$port"
journal good

# make room
find "$root/releases" -mindepth 1 -maxdepth 1 -type d | sort | head -n -5 | xargs -r rm -rf
used=$(readlink "$root"/releases/*/.venv "$root"/releases/*/model | sort -u)
for kept in "$root"/venvs/* "$root"/models/*; do
  grep --quiet --fixed-strings --line-regexp "$kept" <<<"$used" || rm -rf "$kept"
done
