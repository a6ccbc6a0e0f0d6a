#!/usr/bin/env bash
# The tests of deploy/: nginx as it is before three hubs. Called by tests/run; HUBBUB_BIN names
# the hub (default: target/debug/hubbub).
#
# Runs all of it, also after a failure.
set -uo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
export HUBBUB_BIN="${HUBBUB_BIN:-$PWD/target/debug/hubbub}" PATH="$PATH:/usr/sbin:/sbin"
export CI=true npm_config_fund=false npm_config_audit=false npm_config_progress=false
export npm_config_update_notifier=false npm_config_loglevel=error
[ -x "$HUBBUB_BIN" ] || { echo "there is no hub at $HUBBUB_BIN: cargo build, or set HUBBUB_BIN" >&2; exit 1; }

. tests/node.sh
installed tests || exit 1
failed=0

echo "-- tests: npm run deploy"
(cd tests && npm run --silent deploy) || failed=1
exit $failed
