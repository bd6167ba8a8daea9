#!/bin/sh
# `make regress`: runs the linear protocol on real MedMNIST data and compares the scores with the baseline.
#
# Starts with an empty cache: features are cached by weights and versions, not by the code that made them, so a
# cache would hide regressions. Environment: MEDNET_BENCH_DATA, VENV (default .venv).
set -eu
cd "$(dirname "$0")/.."
. .ci/lib.sh

home=build/regress
data=${MEDNET_BENCH_DATA:-}
is_available() { [ -n "$data" ] && { [ -e "$data/$1" ] || [ -e "$data/medmnist/$1" ]; }; }

for file in breastmnist.npz pneumoniamnist.npz retinamnist.npz; do
    if ! is_available "$file"; then
        say "the regression on real data was skipped: MEDNET_BENCH_DATA names no folder with $file"
        exit 0
    fi
done
# The baseline's MedNet was pretrained on these as well; without them it would be another MedNet.
inits=mednet,imagenet,scratch
for file in bccd_cells_28.npz mednist_64.npz pathmnist_test_subset718.npz; do
    is_available "$file" || inits=imagenet,scratch
done

rm -rf "$home"
mkdir -p "$home"
export MEDNET_BENCH_CACHE="$home/cache"
program=${VENV:-.venv}/bin/mednet-bench
"$program" regress --config tests/regression/medmnist-linear.toml \
    --against tests/regression/medmnist-linear.json --inits "$inits" \
    --summary "${GITHUB_STEP_SUMMARY:-$home/summary.md}"
