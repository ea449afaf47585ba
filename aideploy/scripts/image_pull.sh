# shellcheck shell=bash
# Get an image from its registry, and keep it as long as the release.
#
#   image_pull.sh ROOT APP RELEASE RUNTIME IMAGE
#
# Emits `image`, which names its content, and `pin`: the same image for everybody, whatever its tag means by then.

# shellcheck disable=SC2034  # for the library
root=$(expand "$1") app=$2 release=$3 runtime=$4 image=$5
require_runtime

# Without its tag and its digest. What stands behind the last slash has no port.
name=${image%@*}
[[ ${name##*/} != *:* ]] || name=${name%:*}
had_it=no
if is_image "$image"; then had_it=yes; fi

if [[ $image != *@* ]] || [ "$had_it" = no ]; then
  step "pull $image"
  if ! answer=$("$runtime" pull "$image" 2>&1 </dev/null); then
    printf '%s\n' "$answer"
    fail no-image "$runtime cannot pull $image: $(said "$answer")" \
      "correct [serve] image, push it, or log the deploy user in: $runtime login"
  fi
fi
digests=$("$runtime" image inspect --format '{{range .RepoDigests}}{{.}} {{end}}' "$image")
read -ra digests <<<"$digests"
digest=''
for one in "${digests[@]}"; do
  # Runtimes write short names in full.
  case ${one%@*} in "$name" | */"$name") digest=${one#*@} ;; esac
done
id=$(image_id "$image")
keep_image "$id" "$release"
case $image in
  *@*) emit pin "$image" ;;
  *)
    [ -n "$digest" ] || fail no-image "$runtime does not say which digest $image has" "name it with its digest in [serve] image"
    emit pin "$name@$digest"
    # Prunes go by our own names; a tag that was not here before is not left.
    if [ "$had_it" = no ]; then "$runtime" rmi "$image" >/dev/null 2>&1 || true; fi
    ;;
esac
