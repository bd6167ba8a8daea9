# Two commands on a fresh machine: `make demo` and `make test`. `make` alone lists the rest.
#
# PYTHON=/path/to/python   the Python to build .venv with (default: the first on the PATH that is 3.10 or newer)
# VENV=/path/to/venv       where the virtual environment goes (default: .venv)
# PYTEST_ARGS=...          what pytest gets (default below)

VENV ?= .venv
export PYTHON VENV NEED_MB

# Where this is set, as in many containers, every process would compile PyTorch's sources anew: 10 s instead of 3.
unexport PYTHONDONTWRITEBYTECODE

# The main job on the embedded tasks: no download, five minutes at most on two cores, seconds when run again.
DEMO ?= run --tasks phantom --inits mednet,imagenet,scratch --protocols linear --fractions 0.1,0.5,1.0 \
        --seeds 0..2 --size 28 --input-size 64 --pretrain-images 3000 --out runs/demo

# Two processes with one thread each: PyTorch with a thread per core in every worker only fights itself.
PYTEST_ARGS ?= -n 2 --dist loadfile

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test regress lint types package bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

demo: ## Install into .venv and run the main job on generated images: leaderboard and HTML report
	@sh .ci/setup.sh
	@echo "mednet-bench $(DEMO)"
	@"$(VENV)/bin/mednet-bench" $(DEMO)

test: ## Install into .venv with the development extras and run the tests
	@sh .ci/setup.sh dev
	@echo "pytest $(PYTEST_ARGS)"
	@OMP_NUM_THREADS=1 "$(VENV)/bin/python" -m pytest $(PYTEST_ARGS)

regress: ## Judge the scores on real MedMNIST sets against the carried baseline (where the data are at hand)
	@sh .ci/setup.sh
	@sh .ci/regress.sh

lint: ## Check style and format (ruff)
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/ruff" check .
	@"$(VENV)/bin/ruff" format --check .

types: ## Check types (pyright)
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/pyright" --pythonpath "$(VENV)/bin/python"

package: ## Build the wheel, install it into a clean environment, run it from elsewhere
	@sh .ci/packaging.sh

clean: ## Remove build products and caches (keeps .venv and runs/)
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find core tasks baselines benchmark reports mednet_bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

bench: ## Measure the promised ratios of speed (several minutes on a quiet machine)
	@sh .ci/setup.sh dev
	@"$(VENV)/bin/python" tests/speed/measure.py
	@"$(VENV)/bin/python" tests/speed/feeding.py
	@"$(VENV)/bin/python" tests/speed/waiting.py
	@"$(VENV)/bin/python" tests/speed/spinning.py
