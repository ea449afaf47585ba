# shellcheck shell=bash
# What all service managers ask of a slot. A library, in front of theirs. A script sets `app` and
# `root` before it calls a function of theirs.

# require_release SLOT: managers say too little, or nothing, about a slot that has nothing to start.
require_release() {
  [ -x "$root/slots/$1/release/.aideploy/serve" ] ||
    fail no-release "the slot $1 has no release that can be served" "fab deploy"
}
