#!/bin/sh
# Install the servers that the live tests start (each on loopback, with its files in a temporary folder).
set -eu
needed="dovecot-imapd dovecot-lmtpd dovecot-sieve postfix redis-server postgresql openssl"
missing=
for package in $needed; do
    dpkg-query -W -f '${Status}' "$package" 2> /dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "Installing$missing…"
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1  # RUNLEVEL: the packages' own services stay off
    apt-get update -qq
    # shellcheck disable=SC2086  # a list of packages
    apt-get install -qq -y --no-install-recommends $missing > /dev/null
else
    echo "The live tests will skip: as root, apt-get install$missing" >&2
fi
