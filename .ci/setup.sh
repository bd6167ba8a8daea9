#!/bin/sh
# Makes the virtual environment of `make demo` and `make test`: setup.sh [EXTRA].
#
# Installs the package editable; packaging.sh checks the wheel. A stamp with a checksum of pyproject.toml and
# constraints.txt makes repeated calls fast; an interrupted installation has no stamp, and the next run finishes
# it. Environment: PYTHON, VENV (default .venv), NEED_MB (required free disk space).
set -eu
cd "$(dirname "$0")/.."
. .ci/lib.sh

extra=${1:-}
VENV=${VENV:-.venv}
log=build/install.log
mkdir -p build 2>/dev/null || fail "$(pwd) cannot be written, so build/ and .venv cannot be made"

# Two concurrent installs would overwrite each other; the second waits (where flock exists). pip inherits the
# lock, so a pip that survives a killed make is waited for too.
if command -v flock >/dev/null 2>&1; then
    exec 9>build/setup.lock
    flock -n 9 || { say "another make is installing here; waiting for it"; flock 9; }
fi

wanted=$({ cat pyproject.toml constraints.txt; pwd; } | cksum)
stamp="$VENV/.mednet-bench${extra:+-$extra}"
installed() { [ "$(cat "$1" 2>/dev/null)" = "$wanted" ] && new_enough "$VENV/bin/python"; }

# dev contains every extra but zoo and ray, which are installed beside it
covers="$VENV/.mednet-bench-dev"
case $extra in zoo | ray) covers=$stamp ;; esac
if installed "$stamp" || installed "$covers"; then
    say "$VENV is ready (installed before)"
    exit 0
fi

python=$(find_python)
if [ -e "$VENV/.mednet-bench" ] || [ -e "$VENV/.mednet-bench-dev" ]; then
    check_disk "$VENV" 500 "updating $VENV" "make VENV=/other/disk/venv"
else
    check_disk "$VENV" "$FRESH_MB" "a fresh $VENV with PyTorch" "make VENV=/other/disk/venv"
fi
rm -f "$stamp" "$covers"

say "making $VENV with $python ($("$python" -c 'import platform; print(platform.python_version())'))"
make_venv "$python" "$VENV" "$log"
say "installing mednet-bench${extra:+[$extra]} and its libraries; PyTorch is large, so this takes minutes (log: $log)"
pip_install "$VENV" "$log" --constraint constraints.txt --editable ".${extra:+[$extra]}"
say "checking that PyTorch and torchvision fit each other"
"$VENV/bin/python" -c 'import torch, torchvision' >>"$log" 2>&1 ||
    fail "the installation is broken: PyTorch or torchvision cannot be imported; the reason is at the end of $log"
echo "$wanted" >"$stamp"
say "$VENV is ready"
