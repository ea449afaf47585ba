# shellcheck shell=bash
# Make the environment of the release, or find it made: it is named by the hash of what decides it.
#
#   install.sh ROOT RELEASE TREE TOOL PYTHON FIND_LINKS INDEX_URL COUNT FILE… [NAME=VALUE…]
#
# COUNT is the number of dependency FILEs. TREE stands for the release's own code, where that is installed too.

root=$(expand "$1") release=$2 tree=$3 tool=$4 python=$5 find_links=$6 index_url=$7 count=$8
shift 8
files=("${@:1:count}")
shift "$count"
cd -- "$root/releases/$release"
# The values of the environment may hold passwords of package indexes: they are in no argument list.
for pair in "$@"; do export "${pair?}"; done

interpreter=$(command -v -- "$python") ||
  fail no-python "the host has no $python" "install it on the host, or set [install] python"
version=$("$interpreter" -V 2>&1)

hash=$(environment_hash "${files[@]}")
with_includes "${files[@]}" >/dev/null
venv=$root/venvs/$hash
emit hash "$hash"
emit interpreter "$interpreter $version"

link_environment() {
  rm -rf -- .venv
  ln -s -- "../../venvs/$hash" .venv
}

# emit_packages: what is in the environment, as installers record it.
emit_packages() {
  local place
  for place in "$venv"/lib/python3*/site-packages/*.dist-info; do
    if [ -d "$place" ]; then basename -- "$place"; fi
  done | emit_file packages
}

if [ -e "$venv/.complete" ]; then
  link_environment
  emit_packages
  emit reused yes
  exit 0
fi

complete_environment() {
  sync -f "$venv" 2>/dev/null || sync
  : >"$venv/.complete"
  link_environment
  emit_packages
  emit reused no
}

rm -rf -- "$venv"
# Half of one is of no use, and may be what fills the disk.
trap '[ -e "$venv/.complete" ] || rm -rf -- "$venv"' EXIT
if ((count == 0)); then
  # Without packages too: `python` means the same to every project, also where there is only python3.
  step "make an environment without packages"
  "$interpreter" -m venv --without-pip "$venv" || fail no-venv "the host's $python cannot make environments" "apt-get install python3-venv, or the like"
  complete_environment
  exit 0
fi

# find_uv: the path of uv, or nothing where it is not to be had.
find_uv() {
  local place
  for place in "$(command -v uv || true)" "$HOME/.local/bin/uv" "$HOME/.cargo/bin/uv" "$root/tools/bin/uv"; do
    [ -x "$place" ] && "$place" --version >/dev/null 2>&1 && printf '%s\n' "$place" && return
  done
  return 1
}

# fetch_uv: the same, of one that is fetched with pip.
fetch_uv() {
  rm -rf -- "$root/tools"
  "$interpreter" -m venv "$root/tools" >/dev/null 2>&1 &&
    "$root/tools/bin/python" -m pip install --quiet --disable-pip-version-check "${sources[@]}" uv >/dev/null 2>&1 &&
    printf '%s\n' "$root/tools/bin/uv"
}

sources=()
[ -z "$find_links" ] || sources+=(--find-links "$find_links")
# It may hold a password, as well as the variables: not in an argument list.
[ -z "$index_url" ] || export PIP_INDEX_URL="$index_url" UV_INDEX_URL="$index_url"

uv=''
if [ "$tool" = uv ]; then
  step "look for uv"
  uv=$(find_uv) || uv=''
  if [ -z "$uv" ]; then
    step "fetch uv with pip"
    uv=$(fetch_uv) || { rm -rf -- "$root/tools"; uv=''; }
  fi
  [ -n "$uv" ] || emit notice "uv is not on the host and cannot be had there: pip does the work"
fi

# The files as pip and uv understand them: a lock file is exported, of a pyproject.toml the dependencies are taken.
wanted=()
for file in "${files[@]}"; do
  case $(basename -- "$file") in
    uv.lock)
      [ -n "$uv" ] || fail no-uv "the environment is described by uv.lock, and uv cannot be had on the host" \
        "install uv on the host, or name a requirements.txt in [install] requirements"
      "$uv" export --quiet --frozen --no-dev --no-emit-project --directory "$(dirname -- "$file")" --output-file .requirements.uv.txt >/dev/null
      wanted+=(-r .requirements.uv.txt)
      ;;
    pyproject.toml)
      "$interpreter" -c '
import sys
try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib
with open(sys.argv[1], "rb") as file:
    print("\n".join(tomllib.load(file).get("project", {}).get("dependencies", [])))
' "$file" >.requirements.pyproject.txt
      wanted+=(-r .requirements.pyproject.txt)
      ;;
    *) wanted+=(-r "$file") ;;
  esac
done

refused() {
  df -Pk -- "$root" | awk 'NR == 2 && $4 < 1024 { exit 1 }' ||
    fail no-space "no room to build the environment" "make room on the disk of the host"
  fail not-installable "the requirements cannot be installed" "the lines above say which; nothing was changed"
}

if [ -n "$uv" ]; then
  step "build the environment with uv"
  "$uv" venv --quiet --python "$interpreter" "$venv"
  "$uv" pip install --quiet --compile-bytecode --python "$venv/bin/python" "${sources[@]}" "${wanted[@]}" || refused
else
  step "build the environment with pip"
  "$interpreter" -m venv "$venv" || fail no-venv "the host's $python cannot make environments" "apt-get install python3-venv, or the like"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input "${sources[@]}" "${wanted[@]}" || refused
fi
complete_environment
