# shellcheck shell=bash
# Run the project's own tests in the release's environment.
#
#   test.sh ROOT RELEASE COMMAND

root=$(expand "$1") release=$2 command=$3
enter_release "$release"
step "run the tests"
status=0
bash -c "$command" || status=$?
((status == 0)) || fail tests-failed "the tests failed (exit status $status)" "correct them, push, and deploy again"
# Tests leave caches behind; a release is what the commit says.
find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} + 2>/dev/null || true
