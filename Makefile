# The one entry point. Every target does its own set-up; nothing has to be installed by hand first.
PY := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test check bench soak mutants hil-real clean

help: ## these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

demo: ## a simulated board, a pod, its log, a pulled cable; no root, no cluster
	@scripts/setup-venv
	@$(PY) scripts/demo

demo-cluster: ## the same against a real control plane, with kubectl
	@scripts/setup-venv dev
	@scripts/setup-test
	@PYTHONPATH=hil-tests $(PY) scripts/demo-cluster

test: ## everything: lint, types, import rules, unit, property and hil tests
	@scripts/setup-venv dev
	@$(PY) scripts/stages test

check: ## lint, types, import rules, unit tests; about a minute
	@scripts/setup-venv dev
	@$(PY) scripts/stages check

bench: ## the numbers, with this machine's CPU; BENCH="ring codec" for some
	@scripts/setup-venv dev
	@scripts/setup-test
	@$(PY) scripts/bench $(BENCH)

soak: ## kill everything at random for an hour and count every number; SOAK_MINUTES=5 for less
	@scripts/setup-venv dev
	@scripts/setup-test
	@PYTHONPATH=hil-tests $(PY) hil-tests/soak.py

hil-real: ## checks an adapter or board of yours: PORT=/dev/ttyUSB0 [BAUD=921600 LOOPBACK=1 UNPLUG=1 RUN="counter --rate 100" WHO=you]
	@scripts/setup-venv dev
	@PYTHONPATH=hil-tests $(PY) hil-tests/hil_real.py $(or $(PORT),$(error say which: make hil-real PORT=/dev/ttyUSB0)) $(if $(BAUD),--baud $(BAUD)) \
	  $(if $(LINES),--modem-lines $(LINES)) $(if $(LOOPBACK),--loopback) $(if $(UNPLUG),--unplug) $(if $(RUN),--run "$(RUN)") $(if $(WHO),--who "$(WHO)")

mutants: ## take one defence away at a time; a named test must fail for each; MUTANTS=hil for those that need a cluster
	@scripts/setup-venv dev
	@case "$(MUTANTS)" in hil*) scripts/setup-test;; esac
	@$(PY) hil-tests/mutants/mutants.py $(MUTANTS)

clean: ## what the other targets made in this folder; the cache outside (~/.cache/wirelet) stays
	rm -rf .venv dist build .mypy_cache .ruff_cache .hypothesis .import_linter_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
