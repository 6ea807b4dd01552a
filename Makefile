# `make` alone explains itself. Everything runs in .venv, which is made when it is missing.
.DEFAULT_GOAL := help
SHELL := /bin/bash

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Debian packages for tests: the RTSP server that plays the camera, Redis beside Valkey, clients.
TEST_PACKAGES := chromium curl openssl redis-server \
	prometheus prometheus-alertmanager prometheus-redis-exporter \
	gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
	gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav python3-gi

.PHONY: help
help: ## Show this
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.serve ## Watch synthetic cameras: everything missing is set up first
	$(BIN)/streamer demo $(DEMO)

# Tests wait for processes of their own more than they compute: one more than there are cores.
JOBS ?= $(shell expr $$(nproc) + 1)

.PHONY: test
test: $(VENV)/.dev test-packages ## Check the code and run all tests, or some: PYTEST='tests/unit -k fold'
	$(MAKE) --no-print-directory lint type
ifdef PYTEST
	$(BIN)/python -m pytest $(PYTEST)
else
	$(BIN)/python -m pytest -m 'not alone' --numprocesses $(JOBS) --dist worksteal
	$(BIN)/python -m pytest -m alone
endif

.PHONY: lint
lint: $(VENV)/.dev ## Lint, formatting, import layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

.PHONY: type
type: $(VENV)/.dev ## Static types, strict
	$(BIN)/mypy

.PHONY: format
format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: faults
faults: $(VENV)/.dev test-packages ## Faults of every kind on real processes: SEEDS='1 2 3'
	$(BIN)/python -m tests.faults.campaign $(if $(SEEDS),--seeds $(SEEDS)) $(FAULTS)

.PHONY: test-redis
test-redis: $(VENV)/.dev test-packages ## Users, permissions and TLS on Redis and on Valkey, and the page about them
	TEST_REDIS=all $(BIN)/python -m pytest --numprocesses $(JOBS) tests/integration/test_redis_*.py

.PHONY: disconnects
disconnects: $(VENV)/.dev ## Cut clients of the gateway off 10,000 times: does each have the whole log?
	$(BIN)/python -m tests.disconnects $(DISCONNECTS)

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation site into build/site, strictly
	$(BIN)/zensical build --strict --clean

.PHONY: docs-serve
docs-serve: $(VENV)/.docs ## Serve the site on 127.0.0.1:8000, built again at every change
	$(BIN)/zensical serve --dev-addr 127.0.0.1:8000

.PHONY: generated
generated: $(VENV)/.dev ## Write the reference pages of docs/ again, from the code
	$(BIN)/python -m reference

.PHONY: test-docs
test-docs: $(VENV)/.dev test-packages ## Type every page of docs/, the slow ones too, and list what can't be
	$(BIN)/python -m tests.pages
	TEST_DOCS=all $(BIN)/python -m pytest tests/docs

.PHONY: bench
bench: $(VENV)/.dev test-packages ## Measure the pipeline beside its bare parts, in one run
	$(BIN)/python -m benchmarks.pipeline $(BENCH)

.PHONY: soak
soak: $(VENV)/.dev ## Ten minutes of four cameras: is memory flat?
	$(BIN)/python -m benchmarks.soak $(SOAK)

.PHONY: images
images: ## Build the container image, or several: IMAGES='cpu gpu'
	docker/build.sh $(or $(IMAGES),cpu)

.PHONY: sbom
sbom: ## Print the image's bill of materials (CycloneDX) into dist/
	docker/sbom.sh

.PHONY: secrets
secrets: ## Make the secrets of the compose stack that are missing
	deploy/compose/secrets.sh

.PHONY: test-images
test-images: $(VENV)/.dev ## Run the compose stack for real, and look into its containers
	$(BIN)/python -m pytest tests/images/running.py

.PHONY: cold-start
cold-start: $(VENV)/.dev ## Measure the compose stack from `up` to the first event
	$(BIN)/python -m benchmarks.compose $(COLD_START)

.PHONY: screenshots
screenshots: $(VENV)/.dev test-packages ## Take the pictures of the README again
	$(BIN)/python -m benchmarks.screenshots

.PHONY: dashboards
dashboards: $(VENV)/.dev ## Make Grafana's dashboards again from their source
	$(BIN)/python -m deploy.grafana.source

.PHONY: encoder
encoder: $(VENV)/.dev ## Export the default encoder again
	$(PIP) -e '.[export]'
	$(BIN)/python -m streamer.models.encoders.efficientnet_lite0.export

.PHONY: bundle
bundle: $(VENV)/.dev ## Train the default bundle again
	$(BIN)/python -m streamer.training.default_bundle

.PHONY: constraints
constraints: $(VENV)/.dev ## Pin the versions now installed
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable \
		| grep -v '@'; grep '^onnxruntime-gpu==' constraints.txt; } > constraints.new
	@mv constraints.new constraints.txt

.PHONY: clean
clean: ## Remove what the targets above made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

# What `demo` needs: serving on a CPU, no torch.
$(VENV)/.serve: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[cpu]'
	@touch $@

# What `test` needs: training and torch too (about 5 GB).
$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[cpu,train,export,otel,dev,docs]'
	@touch $@ $(VENV)/.serve $(VENV)/.docs

# What `docs` needs: the site's generator, no torch.
$(VENV)/.docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) -e '.[docs]'
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: expected Python 3.11 or newer, found $$($(PYTHON) --version); set PYTHON=…"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || $(MAKE) --no-print-directory venv-package
	$(PYTHON) -m venv $(VENV)

.PHONY: venv-package
venv-package:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-venv; \
	else echo "make: Python's venv module is missing; install it (Debian: python3-venv)"; exit 1; fi

.PHONY: test-packages
test-packages:
	@if /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null \
		&& type redis-server redis-cli openssl curl chromium prometheus amtool \
			prometheus-redis-exporter >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
			apt-get -qq install -y --no-install-recommends $(TEST_PACKAGES) >/dev/null; \
	else echo "make: some tests need Debian's $(TEST_PACKAGES)"; fi
