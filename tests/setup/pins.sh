#!/bin/sh
# Write the versions and hashes of all that is installed: constraints.txt for the worker and its build, and
# tests/constraints.txt for the tests as well. Give UPGRADE=--upgrade for newer versions.
set -eu
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3.11 -m venv "$tools"
"$tools/bin/pip" install -qq pip-tools
pins() {
    "$tools/bin/pip-compile" --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --no-annotate \
        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --build-deps-for editable \
        ${UPGRADE:-} "$@" pyproject.toml
}
pins --extra otel --output-file constraints.txt
pins --extra dev --constraint constraints.txt --output-file tests/constraints.txt
