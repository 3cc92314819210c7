#!/bin/sh
# Install emulate, whose Google service the tests of the Gmail connector run against, into a folder that git ignores.
set -eu
folder=${1:-.emulate} version=0.11.2
[ -f "$folder/node_modules/emulate/package.json" ] && grep -q "\"version\": \"$version\"" "$folder/node_modules/emulate/package.json" && exit 0
if ! command -v npm > /dev/null || ! node -e 'process.exit(+process.versions.node.split(".")[0] < 20 ? 1 : 0)' 2> /dev/null; then
    echo "The tests of the Gmail connector will skip: install Node.js 20 or newer, with npm." >&2
    exit 0
fi
echo "Installing emulate $version…"
mkdir -p "$folder"
npm install --prefix "$folder" --no-save --no-package-lock --no-audit --no-fund --ignore-scripts --silent "emulate@$version"
