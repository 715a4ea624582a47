# make demo: an example.  make serve: run the service.  make quick: checks in a minute.  make test: all checks.
# make bench: measurements.  make bench-tabular: real tables beside gradient boosting.  make reliability: kills, power
# cuts, full disks.  make security: hostile requests and tables, fuzzing, known vulnerabilities, build/sbom.json.
# make console: every test of the console in a browser, of which make test runs the short form.
# make postgresql: the tests of the service on PostgreSQL.
# make clients: all clients that speak to it, each from its registry; make test has those that are small.
# make release: wheel, sdist and bill of materials in dist/.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Tests start hundreds of processes. Without bytecode on the disk, each compiles the project's modules anew.
unexport PYTHONDONTWRITEBYTECODE
LOCK = $(BIN)/uv --no-config pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
	--custom-compile-command 'make lock'

.PHONY: demo serve quick test postgresql lint format bench bench-tabular reliability security console clients release \
	lock clean

demo: $(VENV)/.runtime
	$(BIN)/python examples/demo.py

serve: $(VENV)/.runtime
	$(BIN)/gunicorn wsgi:app

test: $(VENV)/.test .venv-clients/triton/.made .venv-clients/generated/.made
	.ci/packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "short or not console"
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --database postgresql -m "not processes and not slow" \
		tests/service tests/models/registry

# The tests of the service on PostgreSQL instead of SQLite; make test has those on it that start no process.
postgresql: $(VENV)/.test
	.ci/packages initdb
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --database postgresql tests/service tests/models/registry

# The inner loop: no test that starts a process, and none that is slow.
quick: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not processes and not slow"

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench
	.ci/packages wrk initdb
	$(BIN)/python -m benchmarks.serving_contestants.environments
	$(BIN)/python -m benchmarks

bench-tabular: $(VENV)/.bench
	$(BIN)/python -m benchmarks.tabular --write

reliability: $(VENV)/.test
	.ci/packages
	$(BIN)/python -m reliability

console: $(VENV)/.test
	.ci/packages chromium
	OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/console

clients: $(VENV)/.test $(patsubst tests/clients/requirements/%.txt,.venv-clients/%/.made,$(wildcard tests/clients/requirements/*.txt))
	$(BIN)/python -m pytest tests/clients

# With TRAINYARD_OFFLINE=1 it goes on if the database of vulnerabilities cannot be reached.
security: $(VENV)/.security
	.ci/packages strace wrk chromium
	$(BIN)/python -m security

# The bill of materials lists what the image installs, under the version that the wheel has.
release: $(VENV)/.release
	rm -rf dist
	$(BIN)/hatchling build --directory dist
	$(BIN)/twine check --strict dist/*
	@mkdir -p build
	sed "s/^dynamic = .*/version = \"$$($(BIN)/hatchling version)\"/" pyproject.toml > build/pyproject.toml
	PYTHONWARNINGS=ignore::UserWarning $(BIN)/cyclonedx-py requirements requirements.lock --pyproject build/pyproject.toml --output-reproducible \
		--output-file "dist/trainyard_server-$$($(BIN)/hatchling version).cdx.json"

# The locks: the newest versions that are allowed, for every Python and processor, of what the service in the image has,
# and of what installs it there.
lock: $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	$(LOCK) --output-file requirements.lock requirements.txt requirements-onnx.txt
	grep -h '^hatchling' requirements-release.txt | $(LOCK) --output-file requirements-build.lock -

clean:
	rm -rf $(VENV) .venv-bench .venv-clients build dist demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Trainyard needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.test: requirements-test.txt requirements-otel.txt requirements-onnx.txt requirements-fast.txt \
		requirements-postgresql.txt requirements-storage.txt requirements-oracle.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-test.txt -r requirements-oracle.txt
	@touch $@

$(VENV)/.security: requirements-security.txt $(VENV)/.test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-security.txt
	@touch $@

$(VENV)/.release: requirements-release.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-release.txt
	@touch $@

$(VENV)/.bench: requirements-bench.txt requirements-fast.txt requirements-postgresql.txt $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	@touch $@

# Clients have environments of their own: what they pin must not decide what the service runs with.
.venv-clients/%/.made: tests/clients/requirements/%.txt | $(VENV)/bin/python
	$(BIN)/python -m venv --clear --without-pip .venv-clients/$*
	$(BIN)/python -m pip --python .venv-clients/$*/bin/python install --quiet --disable-pip-version-check -r $<
	@touch $@
