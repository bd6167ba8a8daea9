#!/bin/sh
# Installs Debian packages that are missing: debian.sh PACKAGE...; elsewhere it only says which are.
set -eu
cd "$(dirname "$0")/.."

missing=
for package in "$@"; do
    # removed packages that left configuration are known to dpkg, too
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q " installed" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "not root or no apt-get here, so these are missing:$missing" >&2
    exit 0
fi
echo "installing$missing"
mkdir -p build
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if ! { apt-get update && apt-get install -y --no-install-recommends $missing; } >build/apt.log 2>&1; then
    tail -n 5 build/apt.log >&2
    echo "apt-get could not install$missing (log: build/apt.log)" >&2
fi
