# shellcheck shell=bash
# Images and the program that runs them. A library; a script sets `runtime` (podman or docker), `app` and `root`.

# A command sent over SSH is no login session: podman may not be told where its user's things are.
[ -d "${XDG_RUNTIME_DIR-}" ] || export XDG_RUNTIME_DIR=/run/user/$EUID

require_runtime() {
  type -P "$runtime" >/dev/null ||
    fail no-runtime "there is no $runtime on the host" "install it on the host: apt-get install ${runtime/docker/docker.io}, or the like"
}

# own_name RELEASE: prints the name that an image has as long as this release is there.
own_name() {
  printf 'localhost/aideploy-%s:%s\n' "$app" "$1"
}

# is_image NAME: whether the host has it.
is_image() {
  "$runtime" image inspect "$1" >/dev/null 2>&1
}

# image_id NAME: prints what names its content, the same on every host and with every runtime.
image_id() {
  local id
  id=$("$runtime" image inspect --format '{{.Id}}' "$1")
  printf 'sha256:%s\n' "${id#sha256:}"
}

# keep_image ID RELEASE: it stays as long as the release.
keep_image() {
  "$runtime" tag "$1" "$(own_name "$2")"
  emit image "$1"
}

# said OUTPUT: prints the last line of what a program said: why it failed.
said() {
  local line last=''
  while IFS= read -r line; do
    [ -z "${line// /}" ] || last=$line
  done <<<"$1"
  printf '%s\n' "${last#Error: }"
}
