# On a fresh machine: `make demo` and `make test`. `make` alone lists all targets.
#
# PYTHON=/path/to/python   Python for the virtual environment (default: the first on the PATH that is 3.10 or newer)
# VENV=/path/to/venv       virtual environment (default: .venv)
# PYTEST_ARGS=...          arguments of pytest (default below)

VENV ?= .venv
export PYTHON VENV NEED_MB

# If set, as in many containers, every process compiles PyTorch's sources again: 10 s instead of 3.
unexport PYTHONDONTWRITEBYTECODE

# A comparison on generated tasks: no download, at most five minutes on two cores, seconds when run again.
DEMO ?= run --tasks phantom --inits mednet,imagenet,scratch --protocols linear --fractions 0.1,0.5,1.0 \
        --seeds 0..2 --size 28 --input-size 64 --pretrain-images 3000 --out runs/demo

# Two processes with one thread each: with a thread per core, the workers would compete for the cores.
PYTEST_ARGS ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all test-zoo test-cluster test-cluster-all regress lint types docs package bench bench-all gpu clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

demo: ## Install into .venv and compare inits on generated images: leaderboard and HTML report
	@sh .ci/setup.sh
	@echo "mednet-bench $(DEMO)"
	@"$(VENV)/bin/mednet-bench" $(DEMO)

test: ## Install into .venv with the development extras and run the tests that are not slow
	@sh .ci/setup.sh dev
	@echo 'pytest -m "not slow" $(PYTEST_ARGS)'
	@OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest -m "not slow" $(PYTEST_ARGS)

test-all: test ## Run the tests, then those marked slow
	@echo 'pytest -m slow $(PYTEST_ARGS)'
	@OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest -m slow $(PYTEST_ARGS)

test-zoo: ## Compare loaded checkpoints with the packages that publish them (extra zoo); at most five minutes
	@sh .ci/setup.sh dev
	@sh .ci/setup.sh zoo
	@echo 'pytest tests/zoo_references $(PYTEST_ARGS)'
	@OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest tests/zoo_references $(PYTEST_ARGS)

CLUSTER_PACKAGES = slurmctld slurmd slurm-client munge bindfs faketime
CLUSTER_TESTS = tests/benchmark/run/test_cluster.py

test-cluster: ## Run 24 cells on Slurm and on Ray on this machine, with faults (Debian, as root; 10 minutes)
	@sh .ci/setup.sh dev
	@sh .ci/setup.sh ray
	@sh .ci/debian.sh $(CLUSTER_PACKAGES)
	@OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest $(CLUSTER_TESTS) tests/benchmark/run/test_ray.py

test-cluster-all: ## Repeat the kills of test-cluster on Slurm 20 times; prints a table
	@sh .ci/setup.sh dev
	@sh .ci/debian.sh $(CLUSTER_PACKAGES)
	@echo '| repetition | records | computed twice | late, dropped | seconds |'
	@MEDNET_BENCH_REPETITIONS=20 OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest -q -s $(CLUSTER_TESTS) -k killed_stopped

regress: ## Compare scores on real MedMNIST sets with the stored baseline (if the data are available)
	@sh .ci/setup.sh
	@sh .ci/regress.sh

lint: ## Check style and format (ruff)
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/ruff" check .
	@"$(VENV)/bin/ruff" format --check .

types: ## Check types (pyright)
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/pyright" --pythonpath "$(VENV)/bin/python"

docs: ## Build the documentation site into build/docs; a warning is an error
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/python" -m sphinx --quiet --fail-on-warning --keep-going docs build/docs
	@echo "build/docs/index.html"

package: ## Build the wheel, install it into a clean environment, run it from another folder
	@sh .ci/packaging.sh

clean: ## Remove build products and caches (keeps .venv and runs/)
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find core tasks baselines benchmark reports mednet_bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

MEASURE = measure() { part=$$1; shift; "$(VENV)/bin/python" "tests/speed/$$part.py" "$$@" || broken=3; }; broken=0

bench: ## Measure the promised ratios of speed (at most 12 minutes on two quiet cores)
	@sh .ci/setup.sh dev
	@$(MEASURE); measure measure loop medmnist validation; measure waiting records; \
	export OMP_NUM_THREADS=1; measure solving; measure estimating linear resnet real; exit $$broken

bench-all: ## Measure everything that docs/speed.md lists for a CPU (half an hour)
	@sh .ci/setup.sh dev
	@$(MEASURE); measure measure; measure waiting; measure feeding; measure spinning; \
	export OMP_NUM_THREADS=1; measure solving; measure estimating; exit $$broken

gpu: ## Run the GPU tests and measure on a GPU; one Markdown table, at most 8 minutes
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/python" tests/gpu/measure_gpu.py
