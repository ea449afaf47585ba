# shellcheck shell=bash
# The engine "torchrun": the same training on all train hosts at once, which torchrun joins to one group. A library
# behind jobs.sh, which says what its functions do, and engine_local.sh, which has the part of each host.

torchrun_check() {
  PATH=$root/releases/$release/.venv/bin:$PATH command -v torchrun >/dev/null || fail no-engine \
    "there is no torchrun in the release's environment, nor on the path of $(id -un)" \
    "add torch to the requirements, or use the engine \"local\""
  local_check
}

torchrun_submit() {
  local_submit "$1"
}

# It is "local" that is noted as soon as it runs.
torchrun_alive() {
  local_alive "$1"
}

torchrun_cancel() {
  local_cancel "$1"
}
