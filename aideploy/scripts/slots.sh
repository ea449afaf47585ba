# shellcheck shell=bash
# What all service managers ask of a slot. A library, in front of theirs. A script sets `app` and
# `root` before it calls a function of theirs.

# require_release SLOT: managers say too little, or nothing, about a slot that has nothing to start.
require_release() {
  [ -x "$root/slots/$1/release/.aideploy/serve" ] ||
    fail no-release "the slot $1 has no release that can be served" "fab deploy"
}

# require_due: this host runs what is due (due.sh), so that it can be left alone with a release.
require_due() {
  due_runs ||
    fail not-set-up "nothing on this host would take back a release that is not confirmed" "fab setup"
}
