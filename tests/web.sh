#!/usr/bin/env bash
# The tests that need Node: the client library, the chat page, the page in a real
# browser against a real hub. Called by tests/run; HUBBUB_BIN names the hub.
set -euo pipefail
cd "$(dirname "$0")/.."
export HUBBUB_BIN="${HUBBUB_BIN:-$PWD/target/debug/hubbub}"
export CI=true npm_config_fund=false npm_config_audit=false npm_config_update_notifier=false

# The distribution's Node may be too old; the npm package `node` brings one that is not.
major=$(node -p 'process.versions.node.split(".")[0]')
if [ "$major" -lt 20 ]; then
  cache=tests/.cache/node
  if [ ! -x "$cache/node_modules/node/bin/node" ]; then
    mkdir -p "$cache"
    npm install --silent --prefix "$cache" node@22
  fi
  PATH="$PWD/$cache/node_modules/node/bin:$PATH"
  export PATH
fi

for folder in clients/js web tests; do
  # npm writes node_modules/.package-lock.json at the end of an install.
  if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
    echo "-- npm ci in $folder"
    (cd "$folder" && npm ci --silent)
  fi
done

run() {
  local folder=$1
  shift
  echo "-- $folder: $*"
  (cd "$folder" && npm run --silent "$@")
}

run clients/js check
run clients/js test
run clients/js size
run web check
run web test
run web verify
run tests browser
