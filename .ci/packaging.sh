#!/bin/sh
# `make package`: checks that the wheel is complete and runs in a folder with its own tasks/ and reports/.
#
# Builds the sdist and the wheel from a copy without build/, compares them with the tree, installs the wheel
# with its dependencies, without constraints.txt like a user, into a clean environment, and runs it elsewhere.
# Needs 9 GB under TMPDIR; environment: PYTHON, NEED_MB.
set -eu
cd "$(dirname "$0")/.."
. .ci/lib.sh

RUN="run --tasks phantom-nodule --inits scratch,imagenet --protocols linear --fractions 1.0 --seeds 0
     --size 28 --input-size 32 --out out"

log=$(pwd)/build/package.log
content=$(pwd)/.ci/wheel_content.py
mkdir -p build
python=$(find_python)
place=$(mktemp -d "${TMPDIR:-/tmp}/mednet-bench-package.XXXXXX")
trap 'rm -rf "$place"' EXIT
trap 'exit 130' INT TERM HUP
check_disk "$place" "$FRESH_MB" "a clean environment with PyTorch" "TMPDIR=/other/disk make package"

say "building the sdist and, from it, the wheel (log: $log)"
mkdir "$place/source"
tar --exclude=__pycache__ -cf - pyproject.toml README.md LICENSE Makefile core tasks baselines benchmark reports mednet_bench tests |
    tar -xf - -C "$place/source"
make_venv "$python" "$place/tools" "$log"
pip_install "$place/tools" "$log" "build>=1.2"
{
    "$place/tools/bin/python" -m build --outdir "$place/dist" "$place/source" &&
        "$place/tools/bin/python" -m build --wheel --outdir "$place/direct" "$place/source"
} >"$log" 2>&1 || explain "$log" "the package cannot be built"
"$place/tools/bin/python" "$content" "$place/source" "$place"/dist/*.whl "$place"/direct/*.whl ||
    fail "the wheel differs from the tree"

say "installing the wheel and all its dependencies into a clean environment"
make_venv "$python" "$place/clean" "$log"
pip_install "$place/clean" "$log" "$(echo "$place"/dist/*.whl)"

say "running it from a folder that has its own core/, tasks/, reports/, benchmark/ and baselines/"
mkdir -p "$place/home" "$place/elsewhere"
cd "$place/elsewhere"
for folder in core tasks reports benchmark baselines; do
    mkdir "$folder"
    echo "raise ImportError('the $folder/ of the folder was imported instead of mednet_bench.$folder')" >"$folder/__init__.py"
done
# elsewhere COMMAND...: runs quietly; PYTHONPATH puts the user's folder first, the worst case.
elsewhere() {
    tool=$1
    shift
    env -u MEDNET_BENCH_DATA HOME="$place/home" XDG_CACHE_HOME="$place/home/.cache" PYTHONPATH="$place/elsewhere" \
        "$place/clean/bin/$tool" "$@" >"$log" 2>&1 </dev/null && return
    tail -n 30 "$log" >&2
    fail "the installed wheel fails in: $tool $* (log: $log)"
}
elsewhere python -c "import sys, mednet_bench.benchmark as b; assert b.__file__.startswith(sys.prefix), b.__file__"
elsewhere python -m mednet_bench --help
elsewhere mednet-bench --help
elsewhere mednet-bench ls
# shellcheck disable=SC2086  # the arguments are words
elsewhere mednet-bench $RUN
[ -s out/report/report.html ] || fail "the installed wheel ran, but wrote no out/report/report.html (log: $log)"
say "the wheel is complete and runs"
