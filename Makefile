# The commands for developers.  Only Python 3.11+ and make are needed; everything that is created is
# in .venv and .cache.

UV_VERSION := 0.13.9
VENV := .venv/bin
UV := $(VENV)/python .ci/uv.py
READY := .venv/.ready
KAFKA_JARS := .cache/kafka/.fetched
FUZZER := .venv/.fuzzer
PEER_NAMES := bytewax quixstreams arroyo
PEERS := $(PEER_NAMES:%=.cache/peers/%/.ready)
FUZZ_SECONDS := 60
LAWS_MINUTES := 10
CORE_TESTS = $(wildcard $(addprefix tests/unit/test_,stories_*.py laws_*.py plans_*.py cases.py \
	coverage.py deadlines.py decide.py event_rules.py linking.py policy.py snapshot.py)) tests/marketplaces
# The test folders from which `make test` and the folders' targets select by marker.
SUITES := $(addprefix tests/,acceptance contract embedded marketplaces steps store streams unit)
# Tests often wait for servers: 1.5 processes per processor.
WORKERS = $$(( ($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2 ))
LOCKED := --quiet --universal --generate-hashes --no-emit-index-url --no-annotate

export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo bench bench-against bench-peers bench-large test test-streams test-console test-alerts screenshots test-embedded test-acceptance test-fast test-laws test-stories test-kafka test-faults test-long require-programs attacks test-pythons test-exhaustive test-model laws test-differential test-mutation fuzz check schemas docs lock clean
.DELETE_ON_ERROR:

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-17s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## Run the main job on servers of its own and show what happens (15 s); ARGS=--keep leaves it running
	@$(VENV)/python -m marketplace_worker demo $(ARGS)

bench: $(READY) ## Measure against baselines, on Apache Kafka if mvn is installed (10 min); ARGS="usage" for one row
	@! command -v mvn >/dev/null || ! command -v java >/dev/null || $(MAKE) --silent $(KAFKA_JARS)
	@$(VENV)/python -m benchmarks $(ARGS)

bench-against: $(READY) ## Compare the processor time with REF=commit, or the last release (6 min); fails at 1.3 times
	@! command -v mvn >/dev/null || ! command -v java >/dev/null || $(MAKE) --silent $(KAFKA_JARS)
	@$(VENV)/python -m benchmarks.against $(REF) $(ARGS)

bench-peers: $(READY) $(PEERS) ## Compare with bytewax, quixstreams, arroyo and FastStream, also after a kill (10 min)
	@! command -v mvn >/dev/null || ! command -v java >/dev/null || $(MAKE) --silent $(KAFKA_JARS)
	@$(VENV)/python -m benchmarks.peers $(ARGS)

bench-large: $(READY) ## Measure growth up to 1,000,000 organizations, and several workers (long)
	@! command -v mvn >/dev/null || ! command -v java >/dev/null || $(MAKE) --silent $(KAFKA_JARS)
	@$(VENV)/python -m benchmarks --large $(ARGS)

test: $(READY) ## Run the everyday tests (90 s); optional POSTGRES=dsn, ARGS="..."
	@$(VENV)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-streams: $(READY) ## Run the tests of consumers and producers (1 min); KAFKA=host:port
	@$(VENV)/pytest -n $(WORKERS) --dist loadfile tests/streams $(ARGS)

test-embedded: $(READY) ## Run the tests of the embedded servers: starts, kills, restarts (1 min)
	@$(VENV)/pytest tests/embedded $(ARGS)

test-acceptance: $(READY) ## Run the tests of the whole worker, in its own processes (1 min)
	@$(VENV)/pytest -n $(WORKERS) --dist loadfile tests/acceptance $(ARGS)

test-console: $(READY) ## Run the tests of the console in a browser (1 min; needs chromium)
	@$(VENV)/pytest tests/browser $(ARGS)

test-alerts: ## Test deploy/alerts.yaml with Prometheus's own tool (1 s; needs promtool)
	@command -v promtool >/dev/null || { \
		echo 'This needs promtool, and nothing was tested (on Debian: apt-get install prometheus).' >&2; \
		exit 1; \
	}
	@promtool check rules deploy/alerts.yaml && promtool test rules deploy/alerts.test.yaml

screenshots: $(READY) ## Write docs/screenshots/, one for each page of the console (needs chromium)
	@$(VENV)/pytest -q tests/browser/take_screenshots.py $(ARGS)

test-fast: $(READY) ## Run the examples and stories of the core, without servers (15 s)
	@$(VENV)/pytest -n auto --dist loadfile --hypothesis-profile=fast $(CORE_TESTS) $(ARGS)

test-laws: $(READY) ## Run the property tests with all their examples; `make test` tries a tenth (1 min)
	@$(VENV)/pytest -n $(WORKERS) --hypothesis-profile=all -m 'hypothesis and not faults and not long' \
		$(SUITES) $(ARGS)

test-stories: $(READY) ## Run each story through the worker as well, on Kafka and Postgres (3 min)
	@$(VENV)/pytest --through-the-worker tests/unit $(ARGS)

test-kafka: $(READY) $(KAFKA_JARS) ## Run the broker-facing tests and the demo on Apache Kafka (needs mvn, Java 17)
	@$(VENV)/pytest -m 'broker or apache' --broker=apache $(SUITES) $(ARGS)
	@$(VENV)/python tests/kafka/with_kafka.py $(VENV)/python -m marketplace_worker demo

test-faults: require-programs $(READY) $(KAFKA_JARS) ## Break workers, Apache Kafka and Postgres; nothing is lost (8 min; needs mvn)
	@$(VENV)/pytest -n 4 --dist loadfile -m faults --broker=apache --database=embedded tests/faults $(ARGS)

require-programs:
	@missing=; \
	command -v java >/dev/null || missing="$$missing openjdk-17-jre-headless"; \
	command -v mvn >/dev/null || missing="$$missing maven"; \
	ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$$missing faketime"; \
	PATH="$$PATH:/usr/sbin" command -v pgbouncer >/dev/null || missing="$$missing pgbouncer"; \
	ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$$missing postgresql"; \
	[ -z "$$missing" ] || { \
		echo "make test-faults needs programs that are not here, and nothing was tested" \
			"(on Debian: apt-get install$$missing)." >&2; \
		exit 1; \
	}

test-long: $(READY) ## Run the tests with a million rows and 100,000 dead letters (long)
	@$(VENV)/pytest -m long tests/long $(ARGS)

attacks: $(READY) $(KAFKA_JARS) ## Attack the worker from outside, one script per attack (long; needs mvn)
	@for each in $(filter-out tests/attacks/outsider.py,$(wildcard tests/attacks/*.py)); do \
		echo "=== $$each"; $(VENV)/python $$each || exit 1; done

test-pythons: $(READY) ## Run the pure tests on every other installed Python of 3.11 to 3.14
	@tests/pythons.sh $(ARGS)

test-exhaustive: $(READY) ## Check the invariants for all sequences of four facts
	@$(VENV)/python tests/exhaustive/sequences.py $(ARGS)

laws: $(READY) ## Test the laws of order with fresh seeds, for LAWS_MINUTES=10
	@$(VENV)/python tests/exhaustive/laws_of_order.py $(LAWS_MINUTES) $(ARGS)

test-model: $(READY) ## Compare random stories with a naive model of the rules (ARGS: seconds, first seed)
	@$(VENV)/python tests/exhaustive/model.py $(ARGS)

test-differential: $(READY) ## Compare 1,000 scenarios with another commit; ARGS="--against REF"
	@$(VENV)/python tests/exhaustive/differential.py $(ARGS)

test-mutation: $(READY) ## Plant faults in the source, and check that the tests detect each (long)
	@$(VENV)/python tests/mutation/plant.py $(ARGS)

fuzz: $(FUZZER) ## Fuzz the readers of all topics for FUZZ_SECONDS=60 (Linux on x86-64)
	@mkdir -p .cache/fuzz
	@cd tests && ../$(VENV)/python -m fuzz --seconds $(FUZZ_SECONDS) --folder ../.cache/fuzz $(ARGS) \
		>../.cache/fuzz/log 2>&1 || { tail -n 60 ../.cache/fuzz/log; exit 1; }
	@grep -E 'Seed:|INITED|DONE|^stat::' .cache/fuzz/log

check: $(READY) ## Lint, format, types, layers, dependencies and sizes
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@$(VENV)/mypy
	@$(VENV)/lint-imports
	@$(VENV)/deptry .
	@$(VENV)/pytest -q tests/tidy

schemas: $(READY) ## Regenerate schemas/ from the contract
	@$(VENV)/python -m marketplace_worker.contract.export schemas

docs: $(READY) ## Regenerate the pages of states, log lines and metrics from the code
	@$(VENV)/python tests/tidy/states_page.py docs/states.md
	@$(VENV)/python tests/tidy/logs_page.py docs/logs.md
	@$(VENV)/python tests/tidy/metrics_page.py docs/metrics.md

lock: $(READY) ## Regenerate the lock files from pyproject.toml, keeping versions that still fit
	@$(UV) pip compile pyproject.toml $(LOCKED) --all-extras --group dev \
		-o requirements.lock $(ARGS)
	@$(UV) pip compile pyproject.toml $(LOCKED) --extra console -c requirements.lock \
		-o deploy/requirements.lock
	@$(UV) pip compile --group fuzz $(LOCKED) -c requirements.lock -o tests/fuzz/requirements.lock
	@for peer in $(PEER_NAMES); do $(UV) pip compile benchmarks/peers/$$peer.in $(LOCKED) \
		-o benchmarks/peers/$$peer.lock || exit 1; done
	@echo hatchling | $(UV) pip compile - $(LOCKED) -c requirements.lock -o deploy/build.lock

clean: ## Remove everything that was created
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The scripts of an environment contain its path: one that was moved is created again.
ifneq ($(shell grep -sc ' -m venv $(CURDIR)/.venv$$' .venv/pyvenv.cfg),1)
.PHONY: $(READY)
endif

# Uses the first Python that is new enough and can create environments; installs the locked packages.
$(READY): requirements.lock pyproject.toml
	@if ! grep -qs ' -m venv $(CURDIR)/.venv$$' .venv/pyvenv.cfg \
		|| ! $(VENV)/python -c 'import pip' 2>/dev/null; then \
		for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 none; do \
			if $$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
			then break; fi; \
		done; \
		if [ $$python = none ]; then \
			echo 'Python 3.11 or newer with its venv module is needed, and none was found' \
				'(on Debian: apt-get install python3-venv; elsewhere: make PYTHON=/path/to/python).' >&2; \
			exit 1; \
		fi; \
		rm -rf .venv && $$python -m venv .venv; \
	fi
	@echo 'Installing what requirements.lock says into .venv ...'
	@$(VENV)/python -m pip install --quiet --no-cache-dir uv==$(UV_VERSION)
	@$(UV) pip install --quiet --python $(VENV)/python --require-hashes -r requirements.lock
	@$(UV) pip install --quiet --python $(VENV)/python --no-deps --no-build-isolation -e .
	@touch $@

$(FUZZER): $(READY) tests/fuzz/requirements.lock
	@$(UV) pip install --quiet --python $(VENV)/python --require-hashes \
		-r tests/fuzz/requirements.lock
	@touch $@

.cache/peers/%/.ready: benchmarks/peers/%.lock $(READY)
	@rm -rf $(@D) && $(VENV)/python -m venv --without-pip $(@D)
	@$(UV) pip install --quiet --python $(@D)/bin/python --require-hashes -r $<
	@touch $@

$(KAFKA_JARS): tests/kafka/pom.xml
	@command -v mvn >/dev/null || { \
		echo 'This gets Apache Kafka with mvn, and there is no mvn here: nothing was tested' \
			'(on Debian: apt-get install maven).' >&2; \
		exit 1; \
	}
	@rm -rf $(@D)
	@mvn --batch-mode --quiet -f $< -Dmaven.repo.local=$(CURDIR)/.cache/m2 \
		dependency:copy-dependencies -DoutputDirectory=$(CURDIR)/$(@D) -DincludeScope=runtime
	@touch $@
