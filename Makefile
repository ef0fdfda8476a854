# `make help` lists the targets. They write to .venv and to the user's cache folder.

PYTHON ?= python3
ARGS ?=
KAFKA ?=
UPGRADE ?=
RUNS ?= 1000000
JOBS ?= 2

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
FAST := not kafka and not containers and not optimize
SLOW := not containers and not optimize
# The tests run in two processes: half of the time they wait for brokers and workers. A file's tests run in one of them,
# which has its own Kafka. `JOBS=` runs them in one.
PARALLEL = $(if $(JOBS),-n $(JOBS) --dist loadfile)

# Shows one line with a count of packages on a terminal, and nothing elsewhere. Errors go to stderr unchanged.
COUNT = { n=0; while read -r word name _; do [ -t 1 ] || continue; case $$word in \
	Collecting) n=$$((n + 1)); printf '\r\033[K  %d of %d: %s' $$n $$(grep -c == $<) "$$name" ;; \
	Installing) printf '\r\033[K  writing %d packages to .venv' $$n ;; \
	esac; done; [ ! -t 1 ] || printf '\r\033[K'; }

.PHONY: help
help: ## List the targets
	@echo "usage: make TARGET [ARGS='options of the command'] [PYTHON=/path/to/python3.11-or-later]"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: .venv/.run ## Answer example tickets through queue, model and cache; KAFKA=1 uses a real local Kafka
	@$(BIN)/inferstream demo $(if $(filter-out 0,$(KAFKA)),--kafka-local) $(ARGS)

.PHONY: demo-translate
demo-translate: .venv/.run ## Show live captions of talks while they are spoken (a minute); KAFKA=1 uses a real local Kafka
	@$(BIN)/inferstream demo translate $(if $(filter-out 0,$(KAFKA)),--kafka-local) $(ARGS)

.PHONY: demo-assistant
demo-assistant: .venv/.run ## Show answers of a small language model, token by token (a minute); KAFKA=1: a worker is killed
	@$(BIN)/inferstream demo assistant $(if $(filter-out 0,$(KAFKA)),--kafka-local) $(ARGS)

.PHONY: kafka
kafka: .venv/.run ## Run a real Kafka on 127.0.0.1:9092 until Ctrl-C; ARGS='--port 19092' sets another port
	@$(BIN)/inferstream kafka $(ARGS)

.PHONY: test
test: .venv/.dev ## Check import layers, lint and strict types, and run all tests, also on a real Kafka
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PARALLEL) -m "$(SLOW)" $(ARGS)

.PHONY: check
check: .venv/.dev ## Check format, lint, strict types and import layers, and run the fast tests (before a commit)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/python -m pytest -q $(PARALLEL) -m "$(FAST)" $(ARGS)

.PHONY: test-optimize
test-optimize: .venv-optimize/.optimize ## Run the tests that need torch, in an environment of their own (6 GB)
	.venv-optimize/bin/python -m pytest -m optimize $(ARGS)

.PHONY: test-containers
test-containers: .venv/.dev ## Build the images and run compose and the container tests
	@PYTHON=$(BIN)/python deploy/test-containers.sh $(ARGS)

.PHONY: bench
bench: .venv/.dev ## Measure throughput and latency against plain alternatives, on a real Kafka (minutes)
	@$(BIN)/inferstream bench --data examples/tickets.jsonl $(ARGS)

.PHONY: bench-translate
bench-translate: .venv/.dev ## Measure translations beside the native engine, and live captions, on a real Kafka (minutes)
	@$(BIN)/inferstream bench-translate --lines examples/sentences.txt $(ARGS)

.PHONY: bench-assistant
bench-assistant: .venv/.dev ## Measure generated texts on one core, on a real Kafka; ARGS="--peers PYTHON" beside others (minutes)
	@$(BIN)/inferstream bench-assistant $(ARGS)

.PHONY: bench-optimize
bench-optimize: .venv/.dev ## Make variants by the profile `cpu` and report; ARGS="--data FILE --label COLUMN": other rows (minutes)
	@$(BIN)/inferstream optimize --profile cpu --data examples/tickets.jsonl --label expected --out results/optimize $(ARGS)

.PHONY: chaos
chaos: .venv/.dev ## Break brokers and workers under load, then audit the topics (minutes)
	@$(BIN)/inferstream chaos $(ARGS)

.PHONY: fuzz
fuzz: .venv/.fuzz ## Fuzz decoder and handler, guided by coverage; RUNS=1000000 sets the number of runs (minutes)
	@mkdir -p .fuzz
	@$(BIN)/python tests/fuzz/fuzz_decoder.py -runs=$(RUNS) -max_len=4096 -artifact_prefix=.fuzz/ .fuzz $(ARGS)

.PHONY: lock
lock: ## Write requirements/ and the lock of Kafka's jars again; UPGRADE=1 takes newer versions
	@requirements/lock.sh "$(PYTHON)" $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Remove .venv, .venv-optimize, caches and build output; models and jars in the user's cache folder stay
	rm -rf .venv .venv-optimize .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz .import_linter_cache .demo .kafka build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.run: requirements/run.txt pyproject.toml | $(BIN)/pip
	@echo "Installing the packages of the pipeline into .venv ($$(grep -c == $<) packages)"
	@$(PIP) install --no-compile --require-hashes -r $< | $(COUNT)
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

.venv/.dev: requirements/dev.txt pyproject.toml | $(BIN)/pip
	@echo "Installing the packages of the tests into .venv ($$(grep -c == $<) packages)"
	@$(PIP) install --no-compile --require-hashes -r $< | $(COUNT)
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch .venv/.run $@

.venv/.fuzz: requirements/fuzz.txt pyproject.toml | $(BIN)/pip
	@echo "Installing the packages for fuzzing into .venv ($$(grep -c == $<) packages)"
	@$(PIP) install --no-compile --require-hashes -r $< | $(COUNT)
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

# torch brings libraries of CUDA, which it does not start without; nothing of it enters .venv or a worker.
.venv-optimize/.optimize: requirements/optimize.txt pyproject.toml | $(BIN)/pip
	@echo "Installing the packages of the tests with torch into .venv-optimize ($$(grep -c == $<) packages)"
	@$(BIN)/python -m venv --clear .venv-optimize
	@.venv-optimize/bin/python -m pip --disable-pip-version-check --no-input install --no-compile --require-hashes -r $< | $(COUNT)
	@.venv-optimize/bin/python -m pip --disable-pip-version-check --no-input install -q --no-deps --no-build-isolation -e .
	@touch $@

$(BIN)/pip:
	@command -v "$(PYTHON)" >/dev/null || { echo "Error: $(PYTHON) was not found: install Python 3.11 or later, or add PYTHON=/path/to/it." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Error: $(PYTHON) is $$("$(PYTHON)" -V): inferstream needs Python 3.11 or later, so add PYTHON=/path/to/it." >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo "Error: $(PYTHON) cannot create environments: install its venv module (on Debian and Ubuntu: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Creating the environment .venv"
	@"$(PYTHON)" -m venv --clear .venv
