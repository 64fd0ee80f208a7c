# `make` alone lists the targets. TENANTRY_HOME, TENANTRY_API_PORT, TENANTRY_MLFLOW_PORT and the
# other TENANTRY_* variables (docs/operations.md) are passed through.
.DEFAULT_GOAL := help
.PHONY: help bootstrap spark demo templates test quick offline check coverage soak bench-features bench-quality up down \
	clean digests sbom lock mutation
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv/bin
# any Python that runs will do for this step; it looks for a supported one itself
ANY_PYTHON = $(firstword $(foreach name,$(wildcard $(VENV)/python) python3 python python3.13 \
	python3.12 python3.11,$(shell $(name) -c 'print("$(name)")' 2>/dev/null)))

BOOTSTRAP = $(or $(ANY_PYTHON),$(error no Python runs here; install Python 3.11, 3.12 or 3.13)) \
	include/runtime/bootstrap.py

COMPILE = uv pip compile pyproject.toml --universal --python-version 3.11 --quiet \
	--no-emit-index-url --no-emit-find-links --no-header --no-annotate --generate-hashes

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

bootstrap:  ## make .venv and install everything (instant when up to date)
	@$(BOOTSTRAP)

spark:  ## the same, and PySpark with a Java for it: tests need them, the demo does not
	@$(BOOTSTRAP) spark

demo: bootstrap  ## start everything, onboard the demo tenants, run their weeks
	@$(VENV)/tenantry demo

templates: bootstrap  ## the same for simulated tenants that together have every template
	@$(VENV)/tenantry demo --templates

test: spark  ## run the whole test suite (without soak)
	$(VENV)/python -m pytest -m "not soak" -n 2 --dist loadfile

offline: spark  ## the whole test suite with all network but loopback denied (Linux)
	unshare --map-root-user --net sh -c 'ip link set lo up && exec $(VENV)/python -m pytest \
		-m "not soak" -n 2 --dist loadfile'

check: spark  ## format, lint, types, import contracts
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports

quick: spark  ## the tests that need no server
	$(VENV)/python -m pytest -m "not soak and not integration" -n 2 --dist loadfile -q tests/spec tests/unit tests/dags

coverage: spark  ## which branches of include/ no test takes that needs no server (build/coverage)
	$(VENV)/coverage run -m pytest -m "not soak and not integration" -q tests/spec tests/unit tests/dags
	$(VENV)/coverage html --quiet
	$(VENV)/coverage report --skip-covered --sort=cover

mutation: spark  ## mutate the code that keeps tenants apart; its tests have to notice 95 %
	$(VENV)/python -m tests.mutation

soak: spark mutation  ## run what takes longer: repeated kills, large sources, mutants, all attacks
	$(VENV)/python -m pytest -m soak

bench-features: spark  ## measure the feature store beside its peers (docs/benchmarks.md)
	@$(VENV)/python -m benchmarks.features

bench-quality: spark  ## measure models and decisions beside their baselines (docs/use-cases)
	@$(VENV)/python -m benchmarks.quality

up: bootstrap  ## start Postgres, Airflow and MLflow and leave them running
	@$(VENV)/python -m include.runtime up

down:  ## stop what was started; the state stays
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m include.runtime down; fi

clean:  ## stop, and forget the state (the virtual environment stays)
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m include.runtime clean; fi

digests:  ## print the lines of .env that name images by digest (needs Docker and the network)
	@for one in BASE=python:3.11-slim-bookworm POSTGRES=postgres:18-bookworm REDIS=redis:7-bookworm; do \
		printf 'TENANTRY_%s_DIGEST=%s\n' "$${one%%=*}" \
			"$$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$${one#*=}")"; \
	done

sbom:  ## write the bill of materials with licences to build/, and check the licences
	@mkdir -p build
	$(VENV)/cyclonedx-py environment $(VENV)/python --pyproject pyproject.toml \
		--output-reproducible --output-format JSON --output-file build/sbom.json
	$(VENV)/python -m include.runtime.licences build/sbom.json build/licences.txt

lock:  ## pin again what pyproject.toml asks for, with digests of every file (needs uv)
	$(COMPILE) --extra build --output-file requirements.txt
	grep -hv '^-r ' requirements.txt requirements-dev.txt > build.lock
	$(COMPILE) --extra build --extra demo --extra dev --constraint requirements.txt --output-file build.lock
	{ echo "-r requirements.txt"; grep -vxFf requirements.txt build.lock; } > requirements-dev.txt
	grep -hv '^-r ' requirements.txt requirements-spark.txt > build.lock
	$(COMPILE) --extra build --extra spark --constraint requirements.txt --output-file build.lock
	{ echo "-r requirements.txt"; grep -vxFf requirements.txt build.lock; } > requirements-spark.txt
	@rm build.lock
	echo 'uv<1' | $(subst pyproject.toml,-,$(COMPILE)) --output-file requirements-uv.txt
