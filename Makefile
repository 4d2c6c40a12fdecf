# Every target sets .venv up first; where nothing has changed that takes a moment.
.PHONY: help setup demo audit audit-folders test test-slow test-browser test-all lint types site wheel clean

help:
	@echo "make demo                                   the whole audit on made-up slices, offline"
	@echo "make audit REAL=dir GENERATED=dir OUT=dir   the whole audit on your images"
	@echo "make test | test-slow | test-browser        quick tests, slow ones, those of the review page in a browser"
	@echo "make test-all                               all of these in one run"
	@echo "make lint | types                           ruff, mypy"
	@echo "make site                                   the documents as a site in build/site, which opens and searches offline"
	@echo "make wheel                                  a wheel in dist/, tried beside nothing but what it declares"
	@echo "make clean                                  remove .venv and everything else that make wrote"

setup:
	@sh scripts/setup.sh

demo: setup
	.venv/bin/synthtrace demo $(DEMO_OPTIONS)

# The shell reads the folders from the environment, so that spaces and quotes in their names do no harm.
audit-folders:
	@test -n "$$REAL" && test -n "$$GENERATED" && test -n "$$OUT" || \
	{ echo "say which folders: make audit REAL=dir GENERATED=dir OUT=dir" >&2; exit 2; }

audit: audit-folders setup
	.venv/bin/synthtrace audit "$$REAL" "$$GENERATED" --out "$$OUT"

# A process for each core, four at most; each test file stays in one, so that what it makes is made once. Libraries compute with
# one thread in each: more of them would wait for each other, which took half as much processor time again.
PYTEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 .venv/bin/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

test: setup
	$(PYTEST)

test-slow: setup
	$(PYTEST) -m "slow and not browser"

test-browser: setup
	$(PYTEST) -m browser

test-all: setup
	$(PYTEST) -m ""

lint: setup
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

types: setup
	.venv/bin/mypy

# What only the site needs is installed when it is asked for; --require-hashes as in the set-up.
site: setup
	.venv/bin/python -m pip --disable-pip-version-check install -qq --require-hashes -c constraints.txt mkdocs-material
	.venv/bin/python scripts/make_site.py

wheel: setup
	.venv/bin/python scripts/check_wheel.py --out dist

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
	find embeddings indexer query scripts tests -name __pycache__ -prune -exec rm -rf {} +
