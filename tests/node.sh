# Node that is new enough, and what npm installs; sourced, from the root of the repository.
# shellcheck shell=bash

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

# Brings the packages of these folders to what their lock files say.
installed() {
  local folder
  for folder in "$@"; do
    # npm writes node_modules/.package-lock.json at the end of an install.
    if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
      echo "-- $folder: npm ci"
      (cd "$folder" && npm ci)
    fi
  done
}
