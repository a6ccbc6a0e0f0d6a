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

# The distribution's Node may be too old; the npm package `node` brings one that is not.
major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
if [ "$major" -lt 20 ]; then
  cache=tests/.cache/node
  if ! "$cache/node_modules/node/bin/node" --version >/dev/null 2>&1; then
    echo "-- Node 22 into $cache"
    mkdir -p "$cache"
    npm install --no-save --prefix "$cache" node@22
  fi
  PATH="$PWD/$cache/node_modules/node/bin:$PATH"
  export PATH
fi

for folder in clients/js web tests; do
  # npm writes node_modules/.package-lock.json at the end of an install.
  if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
    echo "-- $folder: npm ci"
    (cd "$folder" && npm ci)
  fi
done

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
run web check
run web test
run web verify
run tests browser
run tests socketio
run tests seeds
echo "-- all passed in $SECONDS s"
