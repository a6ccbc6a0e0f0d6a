#!/usr/bin/env bash
# The tests that need Node: the client library, the chat page, the page in a real browser against a
# real hub. Called by tests/run; HUBBUB_BIN names the hub (default: target/debug/hubbub).
#
# Installs what is missing with npm, never asks, ends with the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
export HUBBUB_BIN="${HUBBUB_BIN:-$PWD/target/debug/hubbub}"
export CI=true npm_config_fund=false npm_config_audit=false npm_config_progress=false
export npm_config_update_notifier=false npm_config_loglevel=error

fail() {
  echo "$1" >&2
  exit 1
}
command -v npm >/dev/null || fail 'npm is needed: apt-get install nodejs npm'
[ -x "$HUBBUB_BIN" ] || fail "there is no hub at $HUBBUB_BIN: cargo build, or set HUBBUB_BIN"

. tests/node.sh
installed clients/js web tests

# What hangs fails: nothing here takes ten minutes.
run() {
  local folder=$1
  shift
  echo "-- $folder: $*"
  (cd "$folder" && timeout -k 10 600 npm run --silent "$@")
}

run clients/js check
run clients/js test
run clients/js size
run clients/js pack:check
run web check
run web test
run web verify
run tests client
run tests browser
run tests socketio
run tests seeds
echo "-- all passed in $SECONDS s"
