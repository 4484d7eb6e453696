# newslake: `make help` lists what there is.

# Which Python builds .venv; by default conf/python.sh looks for one.
PYTHON ?=
LAKEHOUSE ?= lakehouse
# Further options of jobs/run_pipeline.py, such as RUN_OPTIONS="--articles 300 --epochs 2".
RUN_OPTIONS ?=
# pytest-xdist: two workers, each with a Spark session of its own (some 14 GB in all); one that has done its half takes over from the
# other's. IN_PARALLEL= takes one.
IN_PARALLEL ?= --numprocesses 2 --dist worksteal
KAFKA_PORT ?= 9092
# The installer, pinned as everything else is: it checks each package against the hashes in requirements.lock.
UV_VERSION := 0.13.9

VENV := .venv
READY := $(VENV)/.ready
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run run-full test test-slow test-cluster test-spark40 lint format docs reference bench kafka kafka-stop lock clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/\1\t\2/' | while IFS="$$(printf '\t')" read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done

setup: $(READY) ## Make .venv with the locked packages, and fetch Spark's Delta jars once

run: $(READY) ## Show on the built-in sample what newslake does (tables in LAKEHOUSE=lakehouse)
	$(BIN)/python jobs/run_pipeline.py --lakehouse "$(LAKEHOUSE)" $(RUN_OPTIONS)

run-full: $(READY) ## The same by all jobs of the hourly, daily and weekly runs, on a larger sample and two days
	$(BIN)/python jobs/run_pipeline.py --lakehouse "$(LAKEHOUSE)" --whole $(RUN_OPTIONS)

test: $(READY) ## Run the tests
	$(BIN)/pytest -m "not slow" $(IN_PARALLEL)

test-slow: $(READY) ## Run the slower proofs: kills at many moments, larger data
	$(BIN)/pytest -m slow $(IN_PARALLEL)

test-cluster: $(READY) ## Run the jobs on a real cluster of two workers, one of which is killed (half an hour)
	$(BIN)/pytest -m slow tests/cluster

# What Databricks runtime 17.3 LTS has. Everything else is as locked.
SPARK40 := pyspark==4.0.5 delta-spark==4.0.1
SPARK40_VENV := .venv-spark40

test-spark40: $(SPARK40_VENV)/.ready ## Run the quick tests of the rooms that meet Spark, on Spark 4.0 with Delta 4.0
	$(SPARK40_VENV)/bin/pytest -m "not slow" $(IN_PARALLEL) -k "not kill" tests/spark tests/lake tests/files tests/run tests/switches tests/intake tests/sample tests/text tests/training tests/streaming tests/search

lint: $(READY) ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY) ## Build the pages of docs/ as a site, in site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(READY) ## Write the pages that say what stands in the code (docs/reference, figures, pictures of the runs)
	$(BIN)/python -m newslake.reference

bench: $(READY) ## Run the benchmarks against their peers (hours; BENCH_OPTIONS=--small for minutes)
	@for file in $(filter-out benchmarks/common.py benchmarks/event_log.py benchmarks/fixed_cost.py benchmarks/gpu.py benchmarks/learning_curve.py benchmarks/many_files.py benchmarks/readers.py benchmarks/scale.py benchmarks/world.py benchmarks/train_content.py benchmarks/train_history.py benchmarks/vote_titles.py benchmarks/mind.py benchmarks/mind_ranker.py,$(wildcard benchmarks/*.py)); do echo "== $$file"; $(BIN)/python $$file $(BENCH_OPTIONS) || exit 1; done

kafka: $(READY) ## Start a Kafka broker on this machine (KAFKA_PORT=9092)
	$(BIN)/python -m tests.streaming.broker start --port $(KAFKA_PORT)

kafka-stop: $(READY) ## Stop it; its data stay in .venv/kafka
	$(BIN)/python -m tests.streaming.broker stop --port $(KAFKA_PORT)

lock: $(READY) ## Resolve requirements.lock anew from setup.py
	$(BIN)/uv pip compile setup.py --extra spark --extra training --extra connect --extra test --extra bench --extra docs --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet --output-file requirements.lock

clean: ## Remove .venv and what tools leave behind (never the tables)
	rm -rf $(VENV) $(SPARK40_VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis lib/*.egg-info

# --compile-bytecode: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every process that imports PyTorch would spend
# some 10 s on compiling it.
$(READY): requirements.lock setup.py conf/spark/jars.lock conf/spark/local.conf conf/spark/log4j2.properties
	@command -v java >/dev/null || { echo "newslake needs Java 17 (Spark runs on it): install it, or put it on PATH" >&2; exit 2; }
	python=$$(UV_VERSION=$(UV_VERSION) conf/python.sh "$(PYTHON)") && "$$python" -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	$(BIN)/python -m newslake.spark.local_setup
	@touch $(READY)

$(SPARK40_VENV)/.ready: $(READY) conf/spark/jars-4.0.lock
	$(BIN)/python -m venv $(SPARK40_VENV)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(SPARK40_VENV)/bin/python --require-hashes --requirement requirements.lock
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(SPARK40_VENV)/bin/python --no-deps $(SPARK40)
	$(BIN)/uv pip install --quiet --python $(SPARK40_VENV)/bin/python --no-deps --no-build-isolation --editable .
	$(SPARK40_VENV)/bin/python -m newslake.spark.local_setup
	@touch $@
