# Two commands are all a newcomer needs: `make demo` and `make test`. Both make what they need.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

# Containers often set it. Then each of the many processes of a test or a demo would compile its imports again.
unexport PYTHONDONTWRITEBYTECODE

# Without PYTHON=... the newest suitable one is taken. A virtual environment that is there is kept.
FIND_PYTHON := sh ops/find_python.sh
VENV  := .venv
RUN   := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PIP   := $(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r

.PHONY: help
help: ## Say what can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.PHONY: gone
$(STAMP): requirements-dev.txt ops/installer.txt $(if $(shell test -x $(RUN) || echo gone),gone)
	@if [ -z "$${PYTHON:-}" ] && PYTHON=$(RUN) $(FIND_PYTHON) >/dev/null 2>&1 && $(RUN) -c 'import pip'; then \
	  python=$(RUN); else python=$$($(FIND_PYTHON)); "$$python" -m venv --clear $(VENV); fi; \
	  echo "Installing the locked requirements into $(VENV), for $$("$$python" --version) (once; about a minute)"
	@$(PIP) ops/installer.txt
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --require-hashes -r requirements-dev.txt || \
	  { echo "uv could not; pip, which has settings of its own, tries (about three minutes)"; \
	    $(PIP) requirements-dev.txt; }
	@printf '#!%s\nimport sys\n\nsys.path.insert(0, "%s")\nfrom pipelines.cli.app import app\n\napp()\n' \
	  "$(CURDIR)/$(RUN)" "$(CURDIR)" >$(VENV)/bin/retraining-loop && chmod +x $(VENV)/bin/retraining-loop
	@touch $@

.PHONY: install
install: $(STAMP) ## Make the virtual environment with the locked requirements (PYTHON=path; `make clean` first for another)
	@echo "$(VENV) has $$($(RUN) --version)"

.PHONY: demo
demo: $(STAMP) ## Run the whole loop without docker (REVIEWS=path, ONCE=1)
	@$(RUN) -m ops.demo

.PHONY: local
local: $(STAMP) ## Run the loop on this machine to stay, without docker (FOLDER=path, LOOP_CONFIG=path, DATABASE=url)
	@$(RUN) -m ops.local

# Celery and its libraries are in an environment of their own, which only the full stack needs.
CELERY := .local/celery
STACK  := $(CELERY)/bin/python -m ops.stack
$(CELERY)/.installed: $(STAMP) requirements-celery.txt
	@echo "Installing the locked requirements of the full stack into $(CELERY) (once)"
	@$(RUN) -m venv --clear $(CELERY)
	@$(VENV)/bin/uv pip install --quiet --python $(CELERY)/bin/python --require-hashes -r requirements-celery.txt
	@touch $@

.PHONY: stack stack-night stack-down
stack: $(CELERY)/.installed ## Start PostgreSQL, Redis, a real S3 server, Airflow and two workers (FOLDER=path; installs them as root, with apt)
	@$(STACK) up --install
stack-night: $(CELERY)/.installed ## Play one night on what `make stack` started, and say which worker did what (FOLDER=path)
	@$(STACK) night
stack-down: $(CELERY)/.installed ## Stop what `make stack` started; what it kept stays (FOLDER=path)
	@$(STACK) down

export LOOP_TEST_SKIPS := $(CURDIR)/.local/skipped-tests
.PHONY: test test-long nothing-skipped
test: ONLY = not long
test: nothing-skipped check unit integration faults dags airflow-and-pages ## Every check, and every test but the long ones
	@if [ -s "$$LOOP_TEST_SKIPS" ]; then echo "Every test passed but these, which were skipped:"; \
	  cat "$$LOOP_TEST_SKIPS"; else echo "Every test passed, and none was skipped."; fi
test-long: $(STAMP) ## The long tests alone: hostile stores and files, kills, more nights and pages
	@$(MAKE) --no-print-directory ONLY=long unit integration faults dags e2e browser
nothing-skipped:
	@rm -f "$$LOOP_TEST_SKIPS"

.PHONY: check
check: $(STAMP) ## Lint, types, layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# Which tests a folder's target runs, by their marks: all of them, unless said otherwise.
ONLY     ?=
PYTEST    = $(RUN) -m pytest -q $(if $(ONLY),-m "$(ONLY)")
# Tests that share nothing are spread over the cores; four processes need about 3 GB.
WORKERS  ?= $(shell n=$$(nproc); echo $$((n < 4 ? n : 4)))
PARALLEL := -n $(WORKERS) --dist worksteal
BY_FILE  := -n 2 --dist loadfile  # each process starts what the tests of its files share

# Both wait much, each for an Airflow of its own. So they run at once; the pages' tests are shown after the others.
.PHONY: airflow-and-pages
airflow-and-pages: $(STAMP)
	@mkdir -p .local; $(MAKE) --no-print-directory ONLY="$(ONLY)" browser >.local/browser-tests.log 2>&1 & \
	  browser=$$!; failed=0; $(MAKE) --no-print-directory ONLY="$(ONLY)" e2e || failed=1; \
	  wait $$browser || failed=1; cat .local/browser-tests.log; exit $$failed

.PHONY: unit integration faults dags e2e browser
unit: $(STAMP) ## Tests of single modules
	$(PYTEST) $(PARALLEL) benchmarks/gate_study tests/unit
integration: $(STAMP) ## Tests against an S3 server
	$(PYTEST) $(PARALLEL) tests/integration
faults: $(STAMP) ## Races, lost answers and kills
	$(PYTEST) $(PARALLEL) tests/faults
dags: $(STAMP) ## Tests of the DAGs, in process
	$(PYTEST) $(PARALLEL) tests/dags
e2e: $(STAMP) ## Tests with real Airflow processes
	$(PYTEST) $(BY_FILE) tests/e2e
browser: $(STAMP) ## Tests of the pages in Chromium (CHROMIUM=path, OR_SKIP=1)
	$(RUN) -m ops.browser --install $(if $(OR_SKIP),--or-skip) -- $(PYTEST) tests/browser

.PHONY: test-stack
test-stack: $(STAMP) ## Nights on what `make stack` starts, whose parts are killed (installs it as root, with apt; 12 minutes)
	$(RUN) -m pytest -q -rs tests/e2e/test_full_stack.py

# RANDOM_TESTS="tests/unit tests/integration" takes others in, and longer.
RANDOM_TESTS ?= tests/unit tests/dags
# In one process, so that what a test leaves behind is there when it is repeated.
.PHONY: test-random
test-random: $(STAMP) ## Unit and DAG tests in random order, with random examples (SEED=123)
	@seed="$(SEED)"; seed="$${seed:-$$(( $$(date +%s) % 1000000 ))}"; \
	  echo "random order and examples; to repeat them: make test-random SEED=$$seed"; \
	  LOOP_TEST_SEED="$$seed" $(PYTEST) $(RANDOM_TESTS)

.PHONY: test-pythons
test-pythons: $(STAMP) ## Lint, unit and DAG tests on each Python that is found (OTHERS=1: not on that of .venv)
	@$(RUN) -m ops.pythons $(if $(OTHERS),--others unit dags,check unit dags)

.PHONY: test-attack
test-attack: $(STAMP) ## Only the tests of safeguards, without the longest (LONG=1: all): how much they tried is in the last lines
	$(PYTEST) $(PARALLEL) -m "attack$(if $(LONG),, and not long)" tests/unit tests/integration tests/faults tests/dags
	$(if $(LONG),,$(PYTEST) $(PARALLEL) tests/faults/test_hostile_files.py)

.PHONY: test-safeguards
test-safeguards: $(STAMP) ## Take each safeguard away in a copy, and see its test fail (docs/safeguards.md)
	@$(RUN) -m ops.safeguards

.PHONY: screens
screens: $(STAMP) ## Take the pictures in docs/screens again
	$(RUN) -m ops.browser --install -- $(PYTEST) tests/browser/screens.py

# REAL="--install --or-skip" passes where there is no real S3 server.
REAL ?= --install
# The last sources that MinIO published; it gives out no programs any more.
MINIO_SOURCE := github.com/minio/minio@v0.0.0-20251015172955-9e49d5e7a648

.PHONY: test-real minio
test-real: $(STAMP) ## Run the tests on a real S3 server and PostgreSQL (installs them as root, with apt)
	@$(RUN) -m ops.services.real $(REAL) -- $(MAKE) --no-print-directory integration faults e2e
minio: ## Build MinIO with Go, for test-real
	GOBIN="$${XDG_CACHE_HOME:-$$HOME/.cache}/retraining-loop/tools" go install $(MINIO_SOURCE)

# COMPOSE="--install --folder .local/compose" keeps the images for the next time.
COMPOSE ?= --install
.PHONY: test-compose
test-compose: $(STAMP) ## Follow docs/compose.md on an engine, and kill each container (installs one as root, with apt; half an hour)
	@$(RUN) -m ops.compose $(COMPOSE) -- $(PYTEST) -x tests/compose

# Each prints a table and writes it, with the machine's facts, to benchmarks/results/. Best alone on the machine.
# REPEATS=3 measures each three times and gives the medians.
REPEATS ?= 1
.NOTPARALLEL:
BENCH = $(RUN) -m benchmarks.bench_$(1) $(if $(filter model,$(1)),,--repeats $(REPEATS)) --reviews "$(REVIEWS)" --json benchmarks/results/$(1).json
.PHONY: reviews-given
reviews-given: $(STAMP)
	@test -n "$(REVIEWS)" || { echo "Say which reviews: make $(MAKECMDGOALS) REVIEWS=path/to/imdb_reviews.parquet"; exit 1; }
	@mkdir -p benchmarks/results

.PHONY: bench bench-model bench-search bench-peers bench-night bench-growth bench-retrain
bench: bench-model bench-search bench-peers bench-night bench-growth bench-retrain ## Speed, memory and accuracy compared with what people use (REVIEWS=..., REPEATS=3; an hour)
bench-model: reviews-given ## The default candidate compared with TF-IDF and the lecture's notebook (REVIEWS=...)
	$(call BENCH,model)
bench-search: reviews-given ## Search the settings of the default candidate compared with GridSearchCV (REVIEWS=...)
	$(call BENCH,search)
bench-peers: reviews-given ## Ours and others, with all costs in a table (REVIEWS=...; installs fastText, Vowpal Wabbit)
	@python=$$($(FIND_PYTHON) 3.12 3.11); "$$python" -m venv --clear .local/peers  # fastText has no wheel for 3.13
	@.local/peers/bin/pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(call BENCH,peers) --peers .local/peers/bin/python
bench-night: reviews-given ## A night through Airflow compared with the same steps in one process (REVIEWS=...)
	$(call BENCH,night)
bench-growth: reviews-given ## A night with and without the cache, and up to 1M reviews (REVIEWS=...)
	$(call BENCH,growth)
bench-retrain: reviews-given ## Whole retrainings, step by step, up to 1M reviews (REVIEWS=...)
	$(call BENCH,retrain)

.PHONY: bench-delivery
bench-delivery: reviews-given ## One delivery of a million reviews, from its file to its features (REVIEWS=...)
	$(RUN) -m benchmarks.large_delivery.bench --reviews "$(REVIEWS)" --json benchmarks/results/delivery.json

.PHONY: bench-sizing
bench-sizing: reviews-given ## What a thousand reviews more cost in time, memory, requests and bytes (REVIEWS=...)
	$(RUN) -m benchmarks.sizing.bench --reviews "$(REVIEWS)" --json benchmarks/results/sizing.json

.PHONY: bench-millions
bench-millions: reviews-given ## A whole retraining of three million reviews (REVIEWS=...; an hour, 25 GB under TMPDIR)
	$(RUN) -m benchmarks.bench_retrain --reviews "$(REVIEWS)" --only stream_3m --json benchmarks/results/millions.json

.PHONY: bench-models
bench-models: $(STAMP) ## What each model of one configuration costs, up to a thousand (half an hour)
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.sizing.bench_models --json benchmarks/results/models.json

.PHONY: bench-cluster
bench-cluster: reviews-given ## A search and a streamed fit here and on Dask with one, two and four workers (REVIEWS=...)
	$(RUN) -m benchmarks.cluster.bench --reviews "$(REVIEWS)" --json benchmarks/results/cluster.json

.PHONY: bench-years
bench-years: $(STAMP) ## A night after years of nights compared with the one after ten (half an hour)
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.bench_years --json benchmarks/results/years.json

.PHONY: bench-serving
bench-serving: reviews-given ## The scoring service compared with MLflow's and a plain one (REVIEWS=...; installs MLflow)
	@test -x .local/mlflow/bin/mlflow || { $(RUN) -m venv --clear .local/mlflow; \
	  .local/mlflow/bin/pip install --quiet --disable-pip-version-check mlflow==3.17.2 \
	    $$($(RUN) -m pip freeze | grep -E '^(scikit-learn|numpy|scipy|joblib|skops)=='); }
	$(RUN) -m benchmarks.bench_serving --reviews "$(REVIEWS)" --mlflow .local/mlflow/bin/python \
	  --json benchmarks/results/serving.json

.PHONY: bench-validation
bench-validation: $(STAMP) ## Compare the cost of validation with plain pandas
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.bench_validation --json benchmarks/results/validation.json

.PHONY: bench-monitoring
bench-monitoring: $(STAMP) ## Say what the monitor notices, how soon, and how often for nothing (REVIEWS=imdb_reviews.parquet)
	@test -n "$(REVIEWS)" || { echo "Say which reviews: make bench-monitoring REVIEWS=path/to/imdb_reviews.parquet"; exit 1; }
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.bench_monitoring --reviews "$(REVIEWS)" --json benchmarks/results/monitoring.json

.PHONY: bench-triggers
bench-triggers: reviews-given ## Retrain nightly, weekly, never or when the monitor asks, over a year with drift (REVIEWS=...)
	$(RUN) -m benchmarks.bench_triggers --reviews "$(REVIEWS)" --keep .local/bench-triggers \
	  --json benchmarks/results/triggers.json

.PHONY: bench-poison
bench-poison: $(STAMP) ## Say how many turned labels are noticed (REVIEWS=imdb_reviews.parquet)
	@test -n "$(REVIEWS)" || { echo "Say which reviews: make bench-poison REVIEWS=path/to/imdb_reviews.parquet"; exit 1; }
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.bench_poison --reviews "$(REVIEWS)" --json benchmarks/results/poison.json

.PHONY: bench-gate
bench-gate: $(STAMP) ## Compare the gate with those people use (REVIEWS=imdb_reviews.parquet, QUICK=1)
	@test -n "$(REVIEWS)" || { echo "Say which reviews: make bench-gate REVIEWS=path/to/imdb_reviews.parquet"; exit 1; }
	@mkdir -p benchmarks/results
	$(RUN) -m benchmarks.gate_study.bench --reviews "$(REVIEWS)" $(if $(QUICK),--quick) \
	  --json benchmarks/results/gate.json --markdown benchmarks/results/gate.md

.env:
	@python=$$($(FIND_PYTHON) 2>/dev/null || echo "$${PYTHON:-python3}"); "$$python" -m ops.make_env

.PHONY: up down
up: .env ## Start the loop with docker compose (writes .env with fresh secrets if there is none)
	docker compose up --build --detach --wait
	@echo "Airflow: http://$$(docker compose port api-server 8080) (user and password are in .env)"
down: ## Stop what `make up` started; the volumes stay
	docker compose down

.PHONY: docs
docs: $(STAMP) ## Make the generated pages again, and all pages as a site in .local/site
	$(RUN) -m ops.config_docs > docs/configuration.md
	$(RUN) -m ops.reference
	@$(RUN) -m ops.site

.PHONY: lock
lock: $(STAMP) ## Resolve again what runs (requirements.txt), and what tests it (-dev) or runs workers (-celery), too
	@$(RUN) -m venv .local/lock
	@.local/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	@{ echo "# What installs the locked requirements: \`make lock\` makes this file, too."; \
	  echo uv | .local/lock/bin/uv pip compile --quiet - --python-version 3.11 --generate-hashes --universal \
	    --no-header --no-annotate --no-emit-index-url --no-emit-find-links; } > ops/installer.txt
	for name in requirements requirements-dev requirements-celery ops/site/requirements; do .local/lock/bin/uv pip compile --quiet $$name.in \
	  --python-version 3.11 --generate-hashes --universal --no-emit-index-url --no-emit-find-links \
	  --custom-compile-command "make lock" --output-file $$name.txt; done

.PHONY: clean
clean: ## Remove the virtual environment and everything local
	rm -rf $(VENV) .local .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
