#!/bin/sh
# Make a virtual environment and install the project into it, with the versions and hashes that are pinned.
set -eu
python=$1 venv=$2
command -v "$python" > /dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Python 3.11 or newer is needed; name it with: make PYTHON=/path/to/python3.11" >&2
    exit 1
}
if ! "$python" -c 'import ensurepip' 2> /dev/null; then
    # Debian ships Python without it.
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq && apt-get install -qq -y --no-install-recommends python3-venv > /dev/null
    else
        echo "Python's venv module is missing. As root: apt-get install python3-venv" >&2
        exit 1
    fi
fi
rm -rf "$venv"
"$python" -m venv "$venv"
echo "Installing into $venv (a minute on the first run)…"
export PIP_DISABLE_PIP_VERSION_CHECK=1
"$venv/bin/python" -m pip install -qq --require-hashes -r tests/constraints.txt
# What builds the package is among them: nothing is fetched that isn't pinned.
"$venv/bin/python" -m pip install -qq --no-deps --no-build-isolation -e .
