# Each target sets up .venv by itself: Python 3.10 or newer, this project (editable) and what its tests need.
# torch comes with it: about 6 GB, 2 to 3 minutes on a fast network. PYTHON=/path/to/python chooses the interpreter.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$$p" && break; done)
VENV := $(CURDIR)/.venv
STAMP := $(VENV)/.installed
export PATH := $(VENV)/bin:$(PATH)
# Tests run in JOBS processes of one thread each, a file of tests in one of them: `make test JOBS=8`.
JOBS ?= 2
PYTEST := python -m pytest -n $(JOBS) --dist loadfile

.PHONY: test test-fast test-slow test-end-to-end test-browser test-oldest-nnunet test-lower-bounds lint demo benchmarks clean
.NOTPARALLEL:

# Tests in a browser are skipped here, and say so, where there is no Chromium.
test: lint test-fast test-slow test-end-to-end
	$(PYTEST) -m browser

test-fast: $(STAMP)
	$(PYTEST) -m "not slow and not end_to_end and not browser"

test-slow: $(STAMP)
	$(PYTEST) -m slow

test-end-to-end: $(STAMP)
	$(PYTEST) -m end_to_end

# Needs Chromium (Debian: apt-get install chromium), or RADA_CHROMIUM=/path/to/chromium.
test-browser: $(STAMP)
	RADA_REQUIRE_CHROMIUM=1 $(PYTEST) -m browser

# The same runs on the oldest nnU-Net that pyproject.toml allows, put in front of the installed, newest one.
OLDEST_NNUNET := 2.8.0
test-oldest-nnunet: $(STAMP)
	rm -rf $(VENV)/oldest
	python -m pip install --disable-pip-version-check --no-deps --target $(VENV)/oldest "nnunetv2==$(OLDEST_NNUNET)"
	PYTHONPATH=$(VENV)/oldest python -c \
		"from importlib.metadata import version; assert version('nnunetv2') == '$(OLDEST_NNUNET)'"
	PYTHONPATH=$(VENV)/oldest $(PYTEST) -m end_to_end

# The fast tests with the oldest releases that pyproject.toml allows, in an environment of its own (another 6 GB). They
# have wheels for Python 3.10: make test-lower-bounds PYTHON=python3.10
LOWER := $(CURDIR)/.venv-lower-bounds
test-lower-bounds:
	rm -rf $(LOWER)
	"$(PYTHON)" -m venv $(LOWER)
	$(LOWER)/bin/python -m pip install --disable-pip-version-check -c tests/lower_bounds.txt --editable ".[test]"
	PATH="$(LOWER)/bin:$$PATH" $(PYTEST) -m "not slow and not end_to_end and not browser"

lint: $(STAMP)
	ruff check
	ruff format --check
	mypy

demo: $(STAMP)
	rada-demo -o demo_output

# Those that need no scans; each prints a table and, as its last line, its figures as JSON.
benchmarks: $(STAMP)
	python benchmarks/metrics.py
	python benchmarks/startup.py
	python benchmarks/gpu_memory.py
	python benchmarks/training_step.py
	python benchmarks/data_loading.py

clean:
	rm -rf $(VENV) $(LOWER) demo_output

# Written last, so that an installation that was interrupted is taken up again.
$(STAMP): pyproject.toml nnunetv2_rada_autoload.pth
	@test -n "$(PYTHON)" || { echo "no Python 3.10 or newer on PATH; type: make PYTHON=/path/to/python" >&2; exit 2; }
	"$(PYTHON)" -m venv "$(VENV)"
	python -m pip install --disable-pip-version-check --upgrade "pip>=23.1"
	python -m pip install --disable-pip-version-check --editable ".[test]"
	touch "$@"
